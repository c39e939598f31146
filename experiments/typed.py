"""The base of the configuration's nodes: typed, range-checked, closed to unknown keys, immutable; and its errors."""

import os
import reprlib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


def user_path(path: str | Path) -> Path:
    """A path as a person writes it: ~ is the home folder."""
    return Path(os.path.expanduser(path))


Fraction = Annotated[float, Field(ge=0, lt=1)]
UserPath = Annotated[Path, AfterValidator(user_path)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Typed(BaseModel):
    """Base of the configuration's nodes. The defaults stand in configs/, not here."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def faults(error: ValidationError, whole: str = "") -> str:
    """Each fault that pydantic found: the field (`whole` where it is the value itself), what is wrong, its value."""
    found = []
    for item in error.errors():
        field = ".".join(map(str, item["loc"])) or whole
        value = "" if isinstance(item["input"], dict) else f", got {reprlib.repr(item['input'])}"
        found.append(f"{field}{field and ': '}{item['msg'].removeprefix('Value error, ')}{value}")
    return "; ".join(found)

"""What every node of the configuration is: typed, range-checked, closed to unknown keys, and unchanging."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def user_path(path: str | Path) -> Path:
    """A path as a person writes it: ~ is the home folder."""
    return Path(os.path.expanduser(path))


Fraction = Annotated[float, Field(ge=0, lt=1)]
UserPath = Annotated[Path, AfterValidator(user_path)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Typed(BaseModel):
    """Base of the configuration's nodes. The defaults stand in configs/, not here."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

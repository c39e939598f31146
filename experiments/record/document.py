"""The base of all record documents: strict types, and checks of each against itself and against its path."""

import math
import reprlib
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from experiments.errors import UserError
from experiments.typed import Typed

# Integers that any table can show and any mean can take.
Count = Annotated[int, Field(ge=0, lt=2**63)]
Natural = Annotated[int, Field(gt=0, lt=2**63)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]


class RecordError(UserError, ValueError):
    """A record that cannot be read or written: names the file, the field, its value and the remedy."""


class Part(Typed):
    """Base of a record's parts: nothing is coerced, so what was written is what is read."""

    model_config = ConfigDict(strict=True)


class Document(Part):
    """Base of the records of all kinds: each is a file of its own."""

    @property
    def place(self) -> str:
        """Its path below a folder of such records, derived from its content."""
        raise NotImplementedError

    @property
    def identity(self) -> str:
        """Equal in two files that are copies of one record."""
        return self.place

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> "Document":
        started, ended = (getattr(self, name, "")[:19] for name in ("started", "ended"))  # to the second
        if ended < started:
            raise ValueError(f"ended {ended} is before started {started}")
        return self


def compare(what: str, found: Any, derived: Any, tolerance: float = 0.0) -> None:
    """Raise ValueError unless a value is what the rest of its record gives. `tolerance` is relative."""
    if found != derived and not (tolerance and math.isclose(found, derived, rel_tol=tolerance)):
        raise ValueError(f"{what} is {reprlib.repr(found)}, where the rest gives {reprlib.repr(derived)}")

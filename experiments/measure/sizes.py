"""What `make parameters` records of one model: its adapted matrices, and every method of the paper counted on it."""

from typing import Any, Literal

from pydantic import Field, model_validator

from experiments.paper.printed import LORA_NAMES, PaperRow, title
from experiments.record import Count, Document, Matrices, Part, Time


class Size(Part):
    """One method on the model. `settings`: those that size it. `positions`: integers, if the entries were stored."""

    method: str
    settings: dict[str, bool | Count]
    adapter: Count
    head: Count
    total: Count
    stored_values: Count
    stored_bytes: Count
    positions: Count

    @model_validator(mode="after")
    def _is_sized(self) -> "Size":
        if self.method == "fourierft" and "n" not in self.settings:
            raise ValueError("settings of fourierft need n")
        return self

    @property
    def trained(self) -> int:
        """Adapter and head."""
        return self.adapter + self.head

    @property
    def title(self) -> str:
        """The method with the settings that size it."""
        return title(self.method, self.settings)


class Sizes(Document):
    """One model at full size: the matrices that the paper adapts in it, and every method counted on it."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    model: str
    matrices: list[Matrices]
    rows: list[Size]
    versions: dict[str, str]
    commit: str | None = None
    dirty: bool | None = None
    date: Time

    @property
    def place(self) -> str:
        return f"{self.model}.json"

    @property
    def title(self) -> str:
        """The model, marked unless the code was at a clean commit."""
        return self.model + ("" if self.dirty is False else "‡")

    def find(self, method: str, settings: dict[str, Any]) -> Size | None:
        """The row of this method, by any of its names, with exactly these settings."""
        wanted = (counted_as(method), settings)
        return next((row for row in self.rows if (row.method, row.settings) == wanted), None)


def counted_as(method: str) -> str:
    """The name under which a method is counted: one, where it has two."""
    return LORA_NAMES[0] if method in LORA_NAMES else method


def wanted(paper: dict[str, list[PaperRow]]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Model -> every (method, settings) that a table of the paper has a row for, each once, in the paper's order."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for row in (row for rows in paper.values() for row in rows):
        methods = found.setdefault(row.model, [])
        if (one := (counted_as(row.method), row.settings)) not in methods:
            methods.append(one)
    return found

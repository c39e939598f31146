"""The paper's numbers: the rows of results/paper/*.yaml, checked, and which of them a row of ours stands beside."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from experiments.analysis.aggregate import Row
from experiments.errors import UserError
from experiments.typed import Typed


class PaperRow(Typed):
    """One printed row. `median` and `std` are in percent, by data set; `settings` are those of this suite's method."""

    model: str
    method: str
    params: Annotated[str, Field(pattern=r"^\d+(\.\d+)?M$")]
    settings: dict[str, Any] = Field(default_factory=dict)
    median: dict[str, float]
    std: dict[str, float] = Field(default_factory=dict)
    avg: float

    @property
    def count(self) -> float:
        """The printed number of parameters, head excluded."""
        return 1e6 * float(self.params[:-1])


def read_rows(path: Path) -> list[PaperRow]:
    """The rows of one of the paper's tables. Raises UserError: the file and what is wrong with it."""
    try:
        table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return TypeAdapter(list[PaperRow]).validate_python(table["rows"])
    except (OSError, yaml.YAMLError, ValidationError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a table of the paper ({error}); restore it from version control") from error


def beside(row: Row, paper: list[PaperRow]) -> PaperRow | None:
    """The paper's row of the same model, method and settings, and of the nearest size where several are left."""
    same = [
        printed
        for printed in paper
        if (printed.model, printed.method) == (row.model, row.method)
        and all(row.settings.get(key) == value for key, value in printed.settings.items())
    ]
    if row.scale != "paper" or not row.runs or not same:
        return None
    return min(same, key=lambda printed: abs(printed.count - row.runs[0].params.adapter))

"""The tables of scores as facts, as configs/tables.yaml has them: columns, seeds, statistic and words.

One more table is one more entry there: what reads the records and writes the pages knows no table by name.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from experiments.errors import UserError
from experiments.record import ROOT, Selection
from experiments.yaml_files import read_yaml

COUNTS = {3: "three", 5: "five"}
STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.mean,
    "sample standard deviation (n-1)": statistics.stdev,
    "population standard deviation (n)": statistics.pstdev,
}


@dataclass(frozen=True)
class Protocol:
    """How runs that differ in their seed alone become one number. whose: the seeds. on_test: whether the score is that
    of the test set."""

    seeds: tuple[int, ...]
    centre_name: Literal["median", "mean"]
    spread_name: Literal["sample standard deviation (n-1)", "population standard deviation (n)"]
    on_test: bool = False
    whose: str = "the paper's"

    __pydantic_config__ = ConfigDict(extra="forbid")

    def centre(self, values: Sequence[float]) -> float:
        """Of one value or more."""
        return STATISTICS[self.centre_name](values)

    def spread(self, values: Sequence[float]) -> float:
        """Of two values or more."""
        return STATISTICS[self.spread_name](values)

    @property
    def signs(self) -> dict[str, str]:
        """What keeps a cell from being the paper's evidence, by the sign that says so."""
        signs = {
            "†": f"not all of {self.whose} {COUNTS[len(self.seeds)]} seeds",
            "‡": "code not at a clean commit",
        }
        return signs | ({"§": "scored on validation, for want of a test set"} if self.on_test else {})


@dataclass(frozen=True)
class Column:
    """One column: a metric of one experiment, `factor` times the recorded number, shown with `digits` decimals.

    loss: shown is minus the logarithm of the recorded number, in nats instead, and less is better.
    """

    exp: str
    key: str  # in results/paper
    heading: str
    digits: int = 1
    metric: str | None = None  # None: the experiment's primary one; of any other more is better
    factor: float = 100.0  # 1: no percentage
    optional: bool = False  # a record may lack the metric
    loss: bool = False
    std_digits: int | None = None  # of the paper's deviation, where it prints fewer

    __pydantic_config__ = ConfigDict(extra="forbid")

    def value(self, recorded: float) -> float:
        """What is shown of the recorded number."""
        return -math.log(recorded) if self.loss else self.factor * recorded


PRIMARY = Column("", "", "")  # of any experiment: the primary metric, in percent


@dataclass(frozen=True)
class QualityClaim:
    """What the paper claims of a table. above: the settings of FourierFT that must be better than LoRA, not level."""

    name: str
    statement: str
    above: tuple[dict[str, Any], ...] = ()

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class ScoreTable:
    """One table. `blocks` are the epochs whose scores are shown, the paper's choice first.

    extra: columns that the paper does not have, at any scale. parts: such columns, never at its scale. whole: whether
    every column stands at the other scales too, or those alone that have a record. averaged: whether the columns have a
    mean, by which the claim is then judged, or are judged one by one. rate: what to call the examples that are trained
    on in a second, where that is shown. example: one run, as a command. judged: whether the scores are a judge's, whose
    records stand apart: one block a judge, as different ones do not compare. measure: what the scores are in, where
    percent will not do.
    """

    key: str  # the file in results/paper, and the beginning of those in results/tables
    title: str
    protocol: Protocol
    columns: tuple[Column, ...]
    blocks: dict[Selection, str]
    example: str
    extra: tuple[Column, ...] = ()
    parts: tuple[Column, ...] = ()
    whole: bool = True
    averaged: bool = True
    rate: str | None = None
    judged: bool = False
    measure: str | None = None
    notes: tuple[str, ...] = ()
    claim: QualityClaim | None = None

    __pydantic_config__ = ConfigDict(extra="forbid")

    def columns_at(self, scale: str) -> tuple[Column, ...]:
        """Every column that may stand at this scale."""
        return self.columns + self.extra + (() if scale == "paper" else self.parts)

    @property
    def selection(self) -> Selection:
        """The paper's choice of the epoch."""
        return next(iter(self.blocks))

    def unit(self, name: str) -> str:
        """What the scores are in, `name` being percent or points: "in percent, but for X and Y", no percentages."""
        if self.measure:
            return self.measure
        others = [column.heading for column in self.columns if column.factor != 100]
        return f"in {name}" + (f", but for {' and '.join(others)}" if others else "")


def read_tables(path: Path) -> tuple[ScoreTable, ...]:
    """The tables of a file, in its order. Raises UserError: the file, the keys and what is wrong with them."""
    entries = [{"key": key, **entry} for key, entry in read_yaml(path).items()]
    try:
        return TypeAdapter(tuple[ScoreTable, ...]).validate_python(entries)
    except ValidationError as error:
        raise UserError(f"{path}: not a list of tables ({error}); mend it or restore it") from error


SCORE_TABLES = read_tables(ROOT / "configs" / "tables.yaml")
_BY_KEY = {table.key: table for table in SCORE_TABLES}
TABLE2, TABLE3, TABLE4, TABLE5 = (
    _BY_KEY[key] for key in ("table2_glue", "table3_e2e", "table4_instruct", "table5_vit")
)
HELD_OUT, METAMATH = _BY_KEY["held_out_instruct"], _BY_KEY["metamath"]


def table_of(exp: str) -> ScoreTable:
    """The table of what a run itself measures; Table 2 for an experiment that no table has."""
    measured = (table for table in SCORE_TABLES if not table.judged)
    having = (table for table in measured if any(column.exp == exp for column in table.columns + table.parts))
    return next(having, TABLE2)


def leading_column(exp: str) -> Column:
    """What stands for an experiment where one number must: the first of its columns, or its primary metric."""
    table = table_of(exp)
    return next((column for column in table.columns + table.parts if column.exp == exp), Column(exp, exp, exp))

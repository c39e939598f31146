"""The tables of scores as facts, read from configs/tables.yaml: columns, seeds, statistic and words.

A new table is a new entry there; the code that reads records and writes pages knows no table by name.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from experiments.errors import UserError
from experiments.names import name
from experiments.record import ROOT, Selection
from experiments.trials import LEGEND
from experiments.typed import Typed, faults
from experiments.yaml_files import read_yaml

COUNTS = {3: "three", 5: "five"}
STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.mean,
    "sample standard deviation (n-1)": statistics.stdev,
    "population standard deviation (n)": statistics.pstdev,
}


class Protocol(Typed):
    """How runs that differ only in their seed become one number. on_test: whether scores are of the test set. whose:
    who chose the seeds."""

    seeds: tuple[int, ...]
    centre_name: Literal["median", "mean"]
    spread_name: Literal["sample standard deviation (n-1)", "population standard deviation (n)"]
    on_test: bool = False
    whose: str = "the paper's"

    def centre(self, values: Sequence[float]) -> float:
        """The centre of one value or more."""
        return STATISTICS[self.centre_name](values)

    def spread(self, values: Sequence[float]) -> float:
        """The spread of two values or more."""
        return STATISTICS[self.spread_name](values)

    @property
    def signs(self) -> dict[str, str]:
        """Sign -> what it says keeps a cell from being evidence."""
        signs = {
            "†": f"not all of {self.whose} {COUNTS[len(self.seeds)]} seeds",
            "‡": "code not at a clean commit",
        }
        signs |= {"§": "scored on validation, for want of a test set"} if self.on_test else {}
        return signs | LEGEND


class Column(Typed):
    """One column: a metric of one experiment, `factor` times the recorded number, shown with `digits` decimals.

    heading: by default the experiment's name for people.
    loss: whether minus the logarithm of the recorded number is shown instead, in nats, where less is better.
    """

    exp: str
    key: str  # in results/paper
    heading: str = Field(default_factory=lambda known: name(known["exp"]))
    digits: int = 1
    metric: str | None = None  # None: the experiment's primary one; of any other more is better
    factor: float = 100.0  # 1: no percentage
    optional: bool = False  # a record may lack the metric
    loss: bool = False
    std_digits: int | None = None  # of the paper's deviation, where it prints fewer

    def value(self, recorded: float) -> float:
        """The number that is shown for a recorded one."""
        return -math.log(recorded) if self.loss else self.factor * recorded


PRIMARY = Column(exp="", key="")  # of any experiment: the primary metric, in percent


class QualityClaim(Typed):
    """The paper's claim about a table. above: FourierFT's settings that must be better than LoRA, not only level."""

    name: str
    statement: str
    above: tuple[dict[str, Any], ...] = ()


class ScoreTable(Typed):
    """One table. columns: none stands for every experiment that no other table has. blocks: which epochs' scores are
    shown, and the title of each block; the paper's choice first.

    extra: columns that the paper lacks, shown at any scale. parts: columns that the paper lacks, not shown at its
    scale. whole: whether the other scales too show every column, or only those with a record. averaged: whether the
    columns have a mean, which then judges the claim; else each column does. rate: the name of the training examples,
    where their number per second is shown. example: the command of one run. judged: whether a judge scores; its records
    are kept apart, with one block per judge, since judges do not compare. measure: the unit, where it is not percent.
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

    def columns_at(self, scale: str) -> tuple[Column, ...]:
        """The columns that this scale can show."""
        return self.columns + self.extra + (() if scale == "paper" else self.parts)

    @property
    def headings(self) -> dict[str, str]:
        """Key -> heading of the paper's columns."""
        return {column.key: column.heading for column in self.columns}

    @property
    def selection(self) -> Selection:
        """The epoch that the paper reports."""
        return next(iter(self.blocks))

    def unit(self, name: str) -> str:
        """The unit of the scores, such as "in percent, but for X and Y". name: percent or points."""
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
        raise UserError(f"{path}: not a list of tables ({faults(error)}); mend it or restore it") from error


SCORE_TABLES = read_tables(ROOT / "configs" / "tables.yaml")
_BY_KEY = {table.key: table for table in SCORE_TABLES}
TABLE2, TABLE3, TABLE4, TABLE5 = (
    _BY_KEY[key] for key in ("table2_glue", "table3_e2e", "table4_instruct", "table5_vit")
)
HELD_OUT, METAMATH, OTHER = _BY_KEY["held_out_instruct"], _BY_KEY["metamath"], _BY_KEY["other"]


def table_of(exp: str) -> ScoreTable:
    """The table of the scores that a run of this experiment measures; the table of other data if none has it."""
    measured = (table for table in SCORE_TABLES if not table.judged)
    having = (table for table in measured if any(column.exp == exp for column in table.columns + table.parts))
    return next(having, OTHER)


def leading_column(exp: str) -> Column:
    """The column that represents an experiment in a figure: its first one, or its primary metric."""
    table = table_of(exp)
    return next((column for column in table.columns + table.parts if column.exp == exp), PRIMARY)

"""What the microbenchmarks record: the parts of a layer's step, each an operation at one shape."""

import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from experiments.measure.timed import Timed, Timings
from experiments.record import Count, Natural


class Row(Timed):
    """One operation at one shape: d x d matrices, n entries, `tokens` rows (0: of no rows).

    dtype: of the rows, or of what is formed; tf32 is float32 whose products are in TF32. seconds: launched one by one;
    graph_seconds: replayed as a CUDA graph, or graph_error, which says why not.
    """

    operation: str
    d: Natural
    n: Natural
    tokens: Count
    dtype: Literal["bfloat16", "float32", "tf32"]
    graph_seconds: list[PositiveFloat] = Field(default=[])
    graph_error: str | None = None

    @model_validator(mode="after")
    def _is_an_operation(self) -> "Row":
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation {self.operation!r} is none of {', '.join(OPERATIONS)}")
        if self.graph_seconds and (self.graph_error is not None or not self.seconds):
            raise ValueError("graph_seconds need seconds, and go with no graph_error")
        return self

    @property
    def shape(self) -> tuple[int, int, int, str]:
        """What it shares with the operations that it is compared with."""
        return self.d, self.n, self.tokens, self.dtype

    @property
    def time(self) -> float | None:
        """Seconds of the work alone: of the graph where there is one; None where there is no time."""
        return statistics.median(self.graph_seconds or self.seconds) if self.seconds else None

    @property
    def unit_cost(self) -> float | None:
        """Seconds a unit of work; None where either is unknown."""
        work = OPERATIONS[self.operation].work
        return self.time / work(self) if work and self.time else None


@dataclass(frozen=True)
class Operation:
    """What is measured. `work`: how many `unit`s it is of, by its shape. `decides`: the value or the choice."""

    decides: str
    unit: str = ""
    work: Callable[[Row], int] | None = None


def _matrix(row: Row) -> int:
    return row.d**2


def _multiply_adds(row: Row) -> int:
    return row.tokens * row.d**2


def _rows(row: Row) -> int:
    return 2 * row.tokens * row.d


def _rows_and_entries(row: Row) -> int:
    return row.tokens * (2 * row.d + row.n)


FORMING, GRADIENT, SUM, THIN = "forward: fft or kernel", "gradient: product or tokens", "bf16: the sum", "grid or LoRA"
LAUNCHES = 100  # in a row, of one operation
OPERATIONS = {
    "launches": Operation("what a launch costs beside the work", "launch", lambda row: LAUNCHES),
    "form by fft": Operation(FORMING, "number", _matrix),
    "form by kernel": Operation(FORMING, "number", _matrix),
    "dc of G": Operation("what gradient=product pays after G", "number", _matrix),
    "x W^T": Operation("the product of the frozen layer", "multiply-add", _multiply_adds),
    "G = g^T x": Operation("MULTIPLY_ADDS", "multiply-add", _multiply_adds),
    "rows there and back": Operation("MULTIPLY_ADDS", "number", _rows),
    "gather of entries": Operation("n in T (d1 + d2 + n)", "number", lambda row: row.tokens * row.n),
    "gradient by product": Operation(GRADIENT),
    "gradient by tokens": Operation(GRADIENT, "number", _rows_and_entries),
    "branch": Operation("forward: branch or formed", "number", _rows_and_entries),
    "sum of doubled length": Operation(SUM),
    "sum in place": Operation(SUM),
    "grid: projection": Operation("what a grid keeps for the backward pass"),
    "grid: branch": Operation(THIN),
    "LoRA: branch": Operation(THIN),
}
CHOICES = (FORMING, GRADIENT, SUM, THIN)


class Micro(Timings):
    """The operations on one machine. complete: whether it was measured to its end."""

    set: Literal["small", "full"]
    complete: bool
    rows: list[Row]

    @model_validator(mode="after")
    def _measures_nothing_twice(self) -> "Micro":
        names = [(row.operation, *row.shape) for row in self.rows]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"rows holds {twice[0]} twice")
        return self

    @property
    def title(self) -> str:
        """The machine, marked unless the code was at a clean commit and everything was measured."""
        return f"{self.machine}{self.mark}{'' if self.complete else ' (stopped)'}"

    @property
    def place(self) -> str:
        return re.sub(r"[^a-z0-9.]+", "_", self.machine.lower()).strip("_.") + ".json"

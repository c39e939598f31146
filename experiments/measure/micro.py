"""The record of the microbenchmarks: the operations of a layer's step, each at several shapes."""

import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from experiments.measure.timed import Timed, Timings
from experiments.record import Count, Natural


class Row(Timed):
    """One operation at one shape: d x d matrices, n entries, `tokens` rows (0 if it takes no rows).

    dtype: of the rows, or of the result; tf32 is float32 with products in TF32. seconds: launched one by one.
    graph_seconds: replayed as a CUDA graph; graph_error: why there is none.
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
        """What operations must share to be compared."""
        return self.d, self.n, self.tokens, self.dtype

    @property
    def time(self) -> float | None:
        """The median seconds, of the graph if there is one; None if it was not timed."""
        return statistics.median(self.graph_seconds or self.seconds) if self.seconds else None

    @property
    def unit_cost(self) -> float | None:
        """Seconds per unit of work; None if either is unknown."""
        work = OPERATIONS[self.operation].work
        return self.time / work(self) if work and self.time else None


@dataclass(frozen=True)
class Operation:
    """decides: the value or the choice that depends on it. work: the number of `unit`s in it, by its shape."""

    decides: str
    unit: str = ""
    work: Callable[[Row], int] | None = None


MATRIX = "number", lambda row: row.d**2
MULTIPLY_ADDS = "multiply-add", lambda row: row.tokens * row.d**2
ROWS_AND_ENTRIES = "number", lambda row: row.tokens * (2 * row.d + row.n)
FORMING, GRADIENT, SUM, THIN = "forward: fft or kernel", "gradient: product or tokens", "bf16: the sum", "grid or LoRA"
LAUNCHES = 100  # of an empty operation, in a row
OPERATIONS = {
    "launches": Operation("what a launch costs beside the work", "launch", lambda row: LAUNCHES),
    "form by fft": Operation(FORMING, *MATRIX),
    "form by kernel": Operation(FORMING, *MATRIX),
    "dc of G": Operation("what gradient=product pays after G", *MATRIX),
    "x W^T": Operation("the product of the frozen layer", *MULTIPLY_ADDS),
    "G = g^T x": Operation("MULTIPLY_ADDS", *MULTIPLY_ADDS),
    "rows there and back": Operation("MULTIPLY_ADDS", "number", lambda row: 2 * row.tokens * row.d),
    "gather of entries": Operation("n in T (d1 + d2 + n)", "number", lambda row: row.tokens * row.n),
    "gradient by product": Operation(GRADIENT),
    "gradient by tokens": Operation(GRADIENT, *ROWS_AND_ENTRIES),
    "branch": Operation("forward: branch or formed", *ROWS_AND_ENTRIES),
    "sum of doubled length": Operation(SUM),
    "sum in place": Operation(SUM),
    "grid: projection": Operation("what a grid keeps for the backward pass"),
    "grid: branch": Operation(THIN),
    "LoRA: branch": Operation(THIN),
}
CHOICES = (FORMING, GRADIENT, SUM, THIN)


class Micro(Timings):
    """All operations on one machine. complete: whether none is missing."""

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
        """The machine, with marks for dirty code (‡) and missing operations."""
        return f"{self.machine}{self.mark}{'' if self.complete else ' (stopped)'}"

    @property
    def place(self) -> str:
        return re.sub(r"[^a-z0-9.]+", "_", self.machine.lower()).strip("_.") + ".json"

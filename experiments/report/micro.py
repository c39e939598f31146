"""What `make gpu` records of the parts of a layer's step, and what the choice of algorithms takes from it.

The rule of `fourierft/choice.py` compares numbers that go through a transform with multiply-adds of a matrix product:
VALUES are what one of them costs on the machine, in the rule's units. Where two forms give the same numbers, CHOICES
say which is faster at each shape.
"""

import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from experiments.record import Count, Measured, Natural, Part
from experiments.report.page import Page
from experiments.report.render import DASH, Table

TITLE = "Parts of a layer's step, for the choice of algorithms"
NOTES = [
    "Microseconds: the median of the repeats, by CUDA events on a GPU, launched one by one and replayed as a CUDA "
    "graph, which leaves the launches out. Values and choices are of the graph where there is one.",
    "Inputs stay in the cache between the repeats where they fit there.",
    "Values: medians over the shapes. A number: of a transform of rows, there and back.",
    f"{DASH}: not measured, or no such thing on this device. ‡ code not at a clean commit. (stopped): not all was "
    "measured.",
]


class Row(Part):
    """One operation at one shape: d x d matrices, n entries, `tokens` rows (0: of no rows).

    dtype: of the rows, or of what is formed; tf32 is float32 whose products are in TF32. seconds: launched one by one;
    graph_seconds: replayed as a CUDA graph, or graph_error, which says why not.
    """

    operation: str
    d: Natural
    n: Natural
    tokens: Count
    dtype: Literal["bfloat16", "float32", "tf32"]
    status: Literal["ok", "failed", "oom"]
    error: str | None = None
    seconds: list[PositiveFloat] = Field(default=[])
    graph_seconds: list[PositiveFloat] = Field(default=[])
    graph_error: str | None = None

    @model_validator(mode="after")
    def _is_an_operation_and_tells_the_truth(self) -> "Row":
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation {self.operation!r} is none of {', '.join(OPERATIONS)}")
        if (self.status == "ok") != (self.error is None) or (self.status == "ok") != bool(self.seconds):
            raise ValueError(f"status {self.status!r} needs {'seconds' if self.status == 'ok' else 'an error'}, alone")
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


class Micro(Measured):
    """The operations on one machine. complete: whether it was measured to its end."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
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
    def machine(self) -> str:
        """What a time depends on."""
        device = self.hardware.gpu or self.hardware.cpu
        return f"{device}, torch {self.versions.get('torch', 'of unknown version')}"

    @property
    def title(self) -> str:
        """The machine, marked unless the code was at a clean commit and everything was measured."""
        return f"{self.machine}{self.mark}{'' if self.complete else ' (stopped)'}"

    @property
    def place(self) -> str:
        return re.sub(r"[^a-z0-9.]+", "_", self.machine.lower()).strip("_.") + ".json"


def values(micro: Micro) -> Iterator[tuple[str, float | None, str]]:
    """What the rule reads, as this machine has it: name, value (None: not measured), and what the value is of."""
    number = _cost(micro, "rows there and back")
    for dtype in ("bfloat16", "tf32", "float32"):
        product = _cost(micro, "G = g^T x", dtype)
        on_gpu = "MULTIPLY_ADDS_CUDA" if dtype == "float32" else "MULTIPLY_ADDS_TENSOR_CORES"
        name = on_gpu if micro.hardware.gpu else "MULTIPLY_ADDS"
        yield name, _ratio(number, product), f"multiply-adds of a {dtype} product in the time of a number"
    yield "an entry, for 1", _ratio(_cost(micro, "gather of entries"), number), "numbers, in T (d1 + d2 + n)"
    for name in ("form by fft", "dc of G"):
        yield f"{name}, for 1", _ratio(_cost(micro, name), number), "numbers, in d1 d2"
    kernels = [row for row in micro.rows if row.operation == "form by kernel"]
    for row in sorted(kernels, key=lambda row: (row.dtype, row.d, row.n)):
        about = f"numbers, in d1 d2, to {row.dtype}, d={row.d}, n={row.n}"
        yield "form by kernel, for 1", _ratio(row.unit_cost, number), about
    for row in micro.rows:
        if row.operation == "launches" and row.seconds:
            yield "launch", statistics.median(row.seconds) / LAUNCHES * 1e6, "microseconds, one by one"
            yield "launch", row.time / LAUNCHES * 1e6 if row.graph_seconds else None, "microseconds, in a graph"


def _cost(micro: Micro, operation: str, dtype: str | None = None) -> float | None:
    """Seconds a unit: the median over the shapes, and over the dtypes where none is given."""
    rows = [row for row in micro.rows if row.operation == operation and dtype in (None, row.dtype)]
    costs = [row.unit_cost for row in rows if row.unit_cost]
    return statistics.median(costs) if costs else None


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def choices(micro: Micro) -> Iterator[list[str]]:
    """A line for each choice at each shape where two forms or more were measured: the fastest, then the others in its
    units."""
    for choice in CHOICES:
        rows = [row for row in micro.rows if OPERATIONS[row.operation].decides == choice and row.time]
        for shape in dict.fromkeys(row.shape for row in rows):
            first, *others = sorted((row for row in rows if row.shape == shape), key=lambda row: row.time)
            if others:
                behind = ", ".join(f"{row.operation} ×{row.time / first.time:.2f}" for row in others)
                yield [choice, *_shape(first), first.operation, behind]


def tables(micros: Iterable[Micro]) -> list[Table]:
    """Three a machine: the values, the choices, and every operation."""
    found = sorted(micros, key=lambda micro: micro.machine)
    return [table for micro in found for table in (values_table(micro), _choices(micro), _operations(micro))]


def pages(micros: Sequence[Micro]) -> list[Page]:
    """The page; none where nothing was measured."""
    return [Page("micro", TITLE, tables(micros), NOTES, index_note=f"machines: {len(micros)}")] if micros else []


SHAPE = ["d", "n", "Tokens", "In"]


def values_table(micro: Micro) -> Table:
    """What `values` gives."""
    rows = [[name, DASH if value is None else f"{value:.3g}", about] for name, value, about in values(micro)]
    return Table(f"Values for fourierft/choice.py, {micro.title}", ["Value", "Measured", "Of"], rows)


def _choices(micro: Micro) -> Table:
    return Table(f"The faster form, {micro.title}", ["Choice", *SHAPE, "Fastest", "Others"], list(choices(micro)))


def _operations(micro: Micro) -> Table:
    rows = [[row.operation, *_shape(row), *_cells(row), OPERATIONS[row.operation].decides] for row in micro.rows]
    header = ["Operation", *SHAPE, "µs", "µs in a graph", "Of a unit", "Decides"]
    return Table(f"Operations, {micro.title}", header, rows)


def line(row: Row) -> str:
    """A row in one line of text."""
    alone, graph, cost = _cells(row)
    where = f"d={row.d} n={row.n} tokens={row.tokens} {row.dtype}"
    return f"{row.operation:22} {where:44} {alone:>10} µs {graph:>10} µs in a graph  {cost}".rstrip()


def _cells(row: Row) -> list[str]:
    """A row's microseconds, one by one and in a graph, and its picoseconds a unit."""
    if row.status != "ok":
        return ["OOM" if row.status == "oom" else row.status, DASH, DASH]
    unit = OPERATIONS[row.operation].unit
    cost = f"{row.unit_cost * 1e12:.3g} ps a {unit}" if row.unit_cost else DASH
    return [_microseconds(row.seconds), _microseconds(row.graph_seconds), cost]


def _shape(row: Row) -> list[str]:
    return [str(row.d), str(row.n), str(row.tokens or DASH), row.dtype]


def _microseconds(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e6:.1f}" if seconds else DASH

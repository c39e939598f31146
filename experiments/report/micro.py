"""The tables of the microbenchmarks, for the choice of algorithms in `fourierft/choice.py`.

Its rule compares elements of transforms with multiply-adds of matrix products; `values` are their costs on a machine,
in the rule's units. `choices` are the faster of alternative forms at each shape.
"""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from experiments.measure.micro import CHOICES, LAUNCHES, OPERATIONS, Micro, Row
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
SHAPE, MEASURED = ["d", "n", "Tokens", "In"], ["µs", "µs in a graph", "Of a unit"]


def values(micro: Micro) -> Iterator[tuple[str, float | None, str]]:
    """The constants of the rule on this machine: name, value (None: not measured), and meaning."""
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
    """Seconds per unit: the median over the shapes, and over the dtypes if none is given."""
    rows = [row for row in micro.rows if row.operation == operation and dtype in (None, row.dtype)]
    costs = [row.unit_cost for row in rows if row.unit_cost]
    return statistics.median(costs) if costs else None


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def choices(micro: Micro) -> Iterator[list[str]]:
    """A row for each choice at each shape with two measured forms or more: the fastest, and the others in its units."""
    for choice in CHOICES:
        rows = [row for row in micro.rows if OPERATIONS[row.operation].decides == choice and row.time]
        for shape in dict.fromkeys(row.shape for row in rows):
            first, *others = sorted((row for row in rows if row.shape == shape), key=lambda row: row.time)
            if others:
                behind = ", ".join(f"{row.operation} ×{row.time / first.time:.2f}" for row in others)
                yield [choice, *_shape(first), first.operation, behind]


def tables(micros: Iterable[Micro]) -> list[Table]:
    """Three tables per machine: the values, the choices, and all operations."""
    found = []
    for micro in sorted(micros, key=lambda micro: micro.machine):
        rows = [[row.operation, *_shape(row), *_cells(row), OPERATIONS[row.operation].decides] for row in micro.rows]
        found += [
            values_table(micro),
            Table(f"The faster form, {micro.title}", ["Choice", *SHAPE, "Fastest", "Others"], list(choices(micro))),
            Table(f"Operations, {micro.title}", ["Operation", *SHAPE, *MEASURED, "Decides"], rows),
        ]
    return found


def pages(micros: Sequence[Micro]) -> list[Page]:
    """The page; none where nothing was measured."""
    return [Page("micro", TITLE, tables(micros), NOTES, index_note=f"machines: {len(micros)}")] if micros else []


def values_table(micro: Micro) -> Table:
    """The table of `values`."""
    rows = [[name, DASH if value is None else f"{value:.3g}", about] for name, value, about in values(micro)]
    return Table(f"Values for fourierft/choice.py, {micro.title}", ["Value", "Measured", "Of"], rows)


def line(row: Row) -> str:
    """An operation in one line of text."""
    alone, graph, cost = _cells(row)
    where = f"d={row.d} n={row.n} tokens={row.tokens} {row.dtype}"
    return f"{row.operation:22} {where:44} {alone:>10} µs {graph:>10} µs in a graph  {cost}".rstrip()


def _cells(row: Row) -> list[str]:
    """An operation's microseconds, launched and in a graph, and its picoseconds per unit."""
    if row.status != "ok":
        return ["OOM" if row.status == "oom" else row.status, DASH, DASH]
    unit = OPERATIONS[row.operation].unit
    cost = f"{row.unit_cost * 1e12:.3g} ps a {unit}" if row.unit_cost else DASH
    return [_microseconds(row.seconds), _microseconds(row.graph_seconds), cost]


def _shape(row: Row) -> list[str]:
    return [str(row.d), str(row.n), str(row.tokens or DASH), row.dtype]


def _microseconds(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e6:.1f}" if seconds else DASH

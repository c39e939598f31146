"""What a score costs: every method's score against its trained parameters and its memory, and the Pareto front.

A method is on the front where no other is at least as cheap and at least as good, and one of both truly. Each panel
has its own front, as its costs are its own: parameters without the head, bytes that a training step saves for its
backward pass (exact), and the peak of the GPU where one was used.
"""

import math
import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from experiments import beside
from experiments.names import OURS, name
from experiments.paper.score_tables import leading_column, table_of
from experiments.record import Record
from experiments.report.aggregate import Cell, Row, by_experiment
from experiments.report.labels import in_order
from experiments.report.render import span
from experiments.style import COLUMN, HEIGHT, PAGE, blank, legend, line_style, short, wrapped

LEAST = 3  # methods that make a figure
COSTS = {
    "trained": "adapter parameters",
    "saved": "saved for the backward of a step",
    "peak": "peak GPU memory",
}
LOSS = "loss of a token (nats)"


@dataclass(frozen=True)
class Point:
    """One method with its settings: scores, one per seed, in the unit of its table, and costs; None: not measured."""

    name: str  # beside the point
    label: str  # in the legend
    ours: bool  # FourierFT
    score: float  # the paper's statistic over the seeds
    scores: tuple[float, ...]
    trained: float  # parameters
    saved: float | None  # bytes
    peak: float | None  # bytes
    better: int = 1  # -1 where a lower score is better


def groups(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """(exp, model, scale) -> the rows with a run that succeeded, where at least three methods have one."""
    found = by_experiment(rows)
    return {key: own for key, own in found.items() if len({row.method for row in own}) >= LEAST}


def points(rows: Sequence[Row], exp: str) -> list[Point]:
    """The points of one figure, in the order of their colours."""
    cells = [row.cells[exp] for row in rows]
    column, selection = leading_column(exp), table_of(exp).selection
    several_counts = len({len(cell.runs) for cell in cells}) > 1
    several_sizes = len({_examples(cell.runs[0]) for cell in cells}) > 1
    methods = [row.method for row in rows]
    made = []
    for row, label in in_order(rows, exp):
        cell, ours, told = row.cells[exp], row.method == OURS, label
        if several_sizes and _examples(cell.runs[0]):
            told += f", {_examples(cell.runs[0])} a step"
        if several_counts:
            told += f" ×{len(cell.runs)}"
        falls = column.loss or (column.metric is None and cell.runs[0].metrics.direction == "min")
        made.append(
            Point(
                name=label if ours or methods.count(row.method) > 1 else name(row.method),
                label=told + cell.marks,
                ours=ours,
                score=cell.centre(selection, column),
                scores=tuple(cell.scores(selection, column)),
                trained=cell.trained,
                saved=_median(run.cost.saved_bytes for run in cell.runs),
                peak=_median(run.cost.peak_memory_bytes for run in cell.runs if run.hardware.device == "cuda"),
                better=-1 if falls else 1,
            )
        )
    return made


def front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices of the points that no other dominates (lower cost, higher score), by cost; of equal points, all."""
    pairs = list(zip(costs, scores, strict=True))
    free = [
        index
        for index, (cost, score) in enumerate(pairs)
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in pairs)
    ]
    return sorted(free, key=lambda index: (costs[index], index))


def draw(rows: Sequence[Row], exp: str) -> Figure:
    """The figure of one experiment: a panel for each measured cost, with the legend below."""
    found = points(rows, exp)
    runs = [run for row in rows for run in row.cells[exp].runs]
    costs = [name for name in COSTS if any(getattr(point, name) is not None for point in found)]
    figure = blank(HEIGHT, PAGE if len(costs) > 1 else COLUMN)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    drawn = [_draw_panel(axes, found, cost) for axes, cost in zip(panels, costs, strict=True)]
    column, selection = leading_column(exp), table_of(exp).selection
    metric = name(column.metric or runs[0].metrics.primary)
    score = LOSS if column.loss else f"{metric} × {column.factor:g}"
    test = " on the test set" if all(run.metrics.test for run in runs) else ""
    better = ", lower is better" if found[0].better < 0 else ""
    panels[0].set_ylabel(wrapped(f"{score}{test}, {selection} epoch{better}"))
    counts = [len(point.scores) for point in found]
    seeds = f"{span(counts, to=' to ')} {'seed' if max(counts) == 1 else 'seeds'}"
    figure.suptitle(f"{name(exp)}, {name(rows[0].model)}, {rows[0].scale} scale, {seeds}")
    handles = [Line2D([], [], linestyle="none", **line_style(index)) for index in range(len(found))]
    legend(figure, handles, [point.label for point in found], _caption([row.cells[exp] for row in rows], found))
    beside.write(figure, [(point.name, line) for named in drawn for point, line in named])
    return figure


def _examples(run: Record) -> int | None:
    """Examples in a forward pass, which determine its memory; None if unknown."""
    size = run.configured("recipe.batch_size")
    return size and size // (run.configured("train.accumulation") or 1)


def _median(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _caption(cells: Sequence[Cell], found: Sequence[Point]) -> str:
    """The meaning of the line and of the signs that occur."""
    parts = ["line: the Pareto front (no other method is at least as good for at most the cost)"]
    protocol = cells[0].protocol
    if any(len(point.scores) > 1 for point in found):
        parts.append(f"{protocol.centre_name} over seeds, bar from the lowest to the highest")
    there = {sign for cell in cells for sign in cell.marks}
    parts += [f"{sign} {meaning}" for sign, meaning in protocol.signs.items() if sign in there]
    unknown = [point.name for point in found if point.saved is None]
    if 0 < len(unknown) < len(found):
        parts.append(f"memory not measured: {', '.join(unknown)}")
    return "; ".join(parts)


def _draw_panel(axes: Axes, found: Sequence[Point], cost: str) -> list[tuple[Point, Line2D]]:
    """Draw the points, their spread over seeds, and the front as steps. Returns those to be named, FourierFT and the
    front, with their markers."""
    axes.margins(y=0.14)
    costs = {index: getattr(point, cost) for index, point in enumerate(found) if getattr(point, cost) is not None}
    known = list(costs)
    ranks = front([costs[i] for i in known], [found[i].better * found[i].score for i in known])
    best = [known[rank] for rank in ranks]
    axes.set_xlabel(COSTS[cost])
    place = _log_axis(axes, costs.values()) if cost == "trained" else _byte_axis(axes, costs.values())
    spots = {index: (place(value), found[index].score) for index, value in costs.items()}
    xs, ys = zip(*(spots[index] for index in best), strict=True)
    axes.step([*xs, axes.get_xlim()[1]], [*ys, ys[-1]], where="post", color="0.45", linewidth=1, zorder=1.5)
    named = []
    for index, (x, y) in spots.items():
        point, scores = found[index], found[index].scores
        drawn = axes.errorbar(
            x,
            y,
            yerr=[[y - min(scores)], [max(scores) - y]] if len(scores) > 1 else None,
            linestyle="none",
            elinewidth=0.9,
            zorder=3 if point.ours else 2.5,
            **line_style(index),
        )
        named += [(point, drawn.lines[0])] if point.ours or index in best else []
    return named


def _log_axis(axes: Axes, values: Collection[float]) -> Callable[[float], float]:
    """Make a logarithmic axis, with zero left of a break. Returns the mapping from value to x."""
    positive = [value for value in values if value] or [1.0]
    low, high = min(positive) / 1.6, max(positive) * 1.6
    if math.floor(math.log10(high)) - math.ceil(math.log10(low)) < 1:  # fewer than two powers of ten to read off
        low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
    ticks = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    step = (high / low) ** 0.1
    zero, left = low / step, low
    if 0 in values:
        ticks, left = [zero, *ticks], zero / step**1.2
        slashes = {"marker": [(-1, -2), (1, 2)], "color": "black", "markersize": 7, "markeredgewidth": 0.8}
        at = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5, "linestyle": "none"}
        breaks = [low / step**0.38, low / step**0.22]
        axes.plot(breaks, [0, 0], **{**at, "linestyle": "-"}, color="white", linewidth=2)
        axes.plot(breaks, [0, 0], **at, **slashes)
    axes.set(xscale="log", xlim=(left, high))
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if x < low else short(x)))
    between = [count * tick / 10 for tick in [*ticks[-1:], *ticks] for count in range(2, 10)]
    axes.xaxis.set_minor_locator(FixedLocator([x for x in between if low < x < high]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return lambda value: value or zero


def _byte_axis(axes: Axes, values: Collection[float]) -> Callable[[float], float]:
    """Make a linear axis of bytes from zero. Returns the mapping from value to x."""
    unit, name = (2**30, "GiB") if max(values) >= 2**31 else (2**20, "MiB")
    largest = max(values) / unit or 1
    axes.set(xlim=(-0.03 * largest, 1.08 * largest), xlabel=f"{axes.get_xlabel()} ({name})")
    return lambda value: value / unit

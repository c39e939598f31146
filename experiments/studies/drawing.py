"""The two pictures of a study: scores against a number, and scores of a few things side by side; seeds as spread."""

import math
import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from experiments.report.pareto import WIDTH, look, short
from experiments.style import tidy

Lines = Mapping[str, Mapping[float, Sequence[float]]]  # label -> x -> a score a seed
LINES, DOTS = "median over seeds, band from the lowest to the highest", "a dot a run, the bar their median"


def panels(titles: Sequence[str], height: float = 2.6, across: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page with a panel a title, at most `across` in a row, each `height` inches high."""
    columns = min(across, len(titles))
    rows = math.ceil(len(titles) / columns)
    width = WIDTH if columns > 1 else 0.62 * WIDTH
    figure = Figure(figsize=(width, height * rows + 0.5), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    drawn = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, title in zip(drawn, titles, strict=False):
        tidy(axes)
        axes.set_title(title, fontsize=8)
    for axes in drawn[len(titles) :]:
        axes.remove()
    return figure, drawn[: len(titles)]


def lines(axes: Axes, series: Lines, log: bool = False) -> None:
    """One line a label through the medians, with its band; `log`: over a logarithmic axis."""
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    for index, (label, points) in enumerate(series.items()):
        style, places = look(index), sorted(points)
        axes.plot(places, [statistics.median(points[x]) for x in places], label=label, linewidth=1.4, **style)
        ends = [min(points[x]) for x in places], [max(points[x]) for x in places]
        axes.fill_between(places, *ends, color=style["color"], alpha=0.18, linewidth=0)


def epochs(axes: Axes) -> None:
    """An axis of whole epochs."""
    axes.set_xlabel("epoch", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def level(axes: Axes, label: str, values: Sequence[float], index: int) -> None:
    """A horizontal line at the median of `values`, with its band, for what has no place on the axis."""
    style = look(index)
    axes.axhline(statistics.median(values), color=style["color"], linestyle="--", linewidth=1.2, label=label)
    axes.axhspan(min(values), max(values), color=style["color"], alpha=0.12, linewidth=0)


def dots(axes: Axes, groups: Mapping[str, Sequence[float]]) -> None:
    """A column a label: every score a dot, the median a bar."""
    for place, values in enumerate(groups.values()):
        style = look(place)
        count = len(values)
        shifts = [0.0] if count == 1 else [0.3 * (2 * i / (count - 1) - 1) for i in range(count)]
        axes.plot([place + shift for shift in shifts], values, linestyle="none", alpha=0.75, **style)
        axes.hlines(statistics.median(values), place - 0.38, place + 0.38, color="black", linewidth=1.4, zorder=3)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.grid(visible=False, axis="x")


def caption(figure: Figure, axes: Axes, text: str = "") -> None:
    """Below the panels: what the marks mean (`text`, if it is not the usual), and the legend of one for all where they
    have lines."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        title=text or (LINES if handles else DOTS),
        title_fontsize=6.5,
        fontsize=7,
        loc="outside lower center",
        ncols=max(1, len(labels)),
        frameon=False,
    )

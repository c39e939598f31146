"""How a sweep is drawn: scores against a number, by epoch, or side by side, with the spread over seeds."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from experiments import style
from experiments.record import Record
from experiments.studies import measures

LINES, DOTS = "median over seeds, band from the lowest to the highest", "a dot per run, a bar at their median"


def lines(axes: Axes, series: Mapping[str, Mapping[float, Sequence[float]]], label: str, log: bool = False) -> None:
    """Draw name -> x -> values: a line per name through the medians, and a band. log: whether x is logarithmic."""
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: style.short(x)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    for index, (name, points) in enumerate(series.items()):
        style.course(axes, dict(sorted(points.items())), index, label=name)
    axes.set_xlabel(label, fontsize=8)


def against(x: Callable[[Record], float], label: str) -> Callable[[Axes, measures.Groups, str], None]:
    """A view of scores against a number x of the run, with a line for each first part of the settings."""

    def draw(axes: Axes, groups: measures.Groups, metric: str) -> None:
        series: dict[str, dict[float, list[float]]] = {}
        for (name, *_), runs in groups.items():
            series.setdefault(name, {})[x(runs[0])] = measures.scores(runs)
        lines(axes, series, label, log=True)

    return draw


def by_epoch(axes: Axes, groups: measures.Groups, metric: str) -> None:
    """The view of a metric by epoch, with a line per setting."""
    lines(axes, {name: measures.by_epoch(runs, metric) for (name,), runs in groups.items()}, "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("training loss, mean of the epoch" if metric == "train_loss" else f"{metric} × 100", fontsize=8)


def level(axes: Axes, label: str, values: Sequence[float], index: int) -> None:
    """Draw a horizontal line at the median of `values`, and a band, for what has no x."""
    colour = style.line_style(index)["color"]
    axes.axhline(statistics.median(values), color=colour, linestyle="--", linewidth=1.2, label=label)
    axes.axhspan(min(values), max(values), color=colour, alpha=0.12, linewidth=0)


def dots(axes: Axes, groups: measures.Groups, metric: str, counted: bool = False) -> None:
    """The view of a column per setting: a dot per run, a bar at the median. counted: whether names tell the runs."""
    for place, runs in enumerate(groups.values()):
        values, count = measures.scores(runs), len(runs)
        shifts = [0.0] if count == 1 else [0.3 * (2 * i / (count - 1) - 1) for i in range(count)]
        axes.plot([place + shift for shift in shifts], values, linestyle="none", alpha=0.75, **style.line_style(place))
        axes.hlines(statistics.median(values), place - 0.38, place + 0.38, color="black", linewidth=1.4, zorder=3)
    names = [f"{name}, ×{len(runs)}" if counted else name for (name,), runs in groups.items()]
    axes.set_xticks(range(len(groups)), names)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.grid(visible=False, axis="x")


def caption(figure: Figure, axes: Axes, text: str = "") -> None:
    """Add one legend below the panels, with the lines of one of them if it has any. text: what the marks mean, where it
    is not the usual."""
    handles, labels = axes.get_legend_handles_labels()
    style.legend(figure, handles, labels, len(labels), text or (LINES if handles else DOTS))

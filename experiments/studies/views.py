"""How a sweep is drawn: scores against a number, by epoch, or side by side, with the spread over seeds."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments import beside, style
from experiments.names import OURS, name
from experiments.record import Record
from experiments.studies import measures

LINES, DOTS = "median over seeds, band: their range", "a dot per run, a bar at their median"
LOST, FAR = "a seed far below", 5.0  # points, at least


def lines(
    axes: Axes,
    series: Mapping[str, Mapping[float, Sequence[float]]],
    label: str,
    log: bool = False,
    lowest: Callable[[Sequence[float]], float] = min,
) -> None:
    """Draw name -> x -> values: a line per name through the medians, and a band. log: whether x is logarithmic.

    lowest: of the values at one x, where the band ends.
    """
    for index, (identifier, points) in enumerate(series.items()):
        style.course(axes, dict(sorted(points.items())), index, ends=(lowest, max), label=name(identifier))
    if log:
        axes.set_xscale("log")
        style.logarithmic(axes.xaxis)
    axes.set_xlabel(label)


def against(x: Callable[[Record], float], label: str) -> Callable[[Axes, measures.Groups, str], None]:
    """A view of scores against a number x of the run, with a line for each first part of the settings.

    A seed further below all medians than these lie apart is a mark at the axis: a band down to it would hide the rest.
    """

    def draw(axes: Axes, groups: measures.Groups, metric: str) -> None:
        series: dict[str, dict[float, list[float]]] = {}
        for (first, *_), runs in groups.items():
            series.setdefault(first, {})[x(runs[0])] = measures.scores(runs)
        medians = [statistics.median(scores) for points in series.values() for scores in points.values()]
        floor = min(medians) - max(FAR, max(medians) - min(medians))
        lines(axes, series, label, log=True, lowest=lambda scores: min(score for score in scores if score >= floor))
        for index, points in enumerate(series.values()):
            lost = [place for place, scores in points.items() if min(scores) < floor]
            mark = {"color": style.line_style(index)["color"], "marker": "v", "linestyle": "none", "clip_on": False}
            if lost:
                axes.plot(lost, [0] * len(lost), transform=axes.get_xaxis_transform(), label=f"_{LOST}", **mark)

    return draw


def by_epoch(axes: Axes, groups: measures.Groups, metric: str) -> None:
    """The view of a metric by epoch, with a line per setting."""
    lines(axes, {one: measures.by_epoch(runs, metric) for (one,), runs in groups.items()}, "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("training loss of the epoch" if metric == "train_loss" else f"{name(metric)} × 100")


def level(axes: Axes, label: str, values: Sequence[float], index: int) -> None:
    """Draw a horizontal line at the median of `values`, and a band, for what has no x."""
    colour = style.line_style(index)["color"]
    axes.axhline(statistics.median(values), color=colour, linestyle="--", linewidth=1.2, label=label)
    axes.axhspan(min(values), max(values), color=colour, alpha=0.12, linewidth=0)


def dots(axes: Axes, groups: measures.Groups, metric: str, counted: bool = False) -> None:
    """The view of a row per setting: a dot per run, a bar at the median. counted: whether names tell the runs."""
    for place, runs in enumerate(groups.values()):
        values, count = measures.scores(runs), len(runs)
        shifts = [0.0] if count == 1 else [0.3 * (2 * i / (count - 1) - 1) for i in range(count)]
        axes.plot(values, [place + shift for shift in shifts], linestyle="none", alpha=0.75, **style.line_style(place))
        axes.vlines(statistics.median(values), place - 0.38, place + 0.38, color="black", linewidth=1.4, zorder=3)
    names = [f"{name(one)}, ×{len(runs)}" if counted else name(one) for (one,), runs in groups.items()]
    axes.set_yticks(range(len(groups)), names)
    axes.set(ylim=(len(groups) - 0.4, -0.6), xlabel=axes.get_ylabel(), ylabel="")
    axes.grid(visible=False, axis="y")


def caption(figure: Figure, panels: Sequence[Axes], text: str = "") -> None:
    """Add one legend below the panels, with the lines of the first if it has any, and FourierFT's name in each panel
    that compares methods. text: what the marks mean, where it is not the usual."""
    handles, labels = panels[0].get_legend_handles_labels()
    has_lost = any(line.get_label() == f"_{LOST}" for axes in panels for line in axes.lines)
    usual = (f"{LINES}, ▾: {LOST}" if has_lost else LINES) if handles else DOTS
    style.legend(figure, handles, labels, text or usual)
    ours = name(OURS)
    beside.write(figure, [(ours, line) for axes in panels for line in axes.lines if line.get_label() == ours])

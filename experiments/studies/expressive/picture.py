"""The figures of the study: accuracy over the epochs, and the regions of the plane by predicted class."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from experiments import beside
from experiments.measure.timing import quartiles
from experiments.names import OURS
from experiments.studies.expressive.outcome import CLASSES, EXTENT, PER_CLASS, TITLES, Contest, Method
from experiments.style import COLOURS, course, legend, panels

PANELS = 3  # variants that are drawn: the first ones
ORDER: tuple[Method, ...] = ("fourierft", "lora", "full", "none")  # of the colours
QUARTILES = (lambda values: quartiles(values).low, lambda values: quartiles(values).high)
MARKERS = "os^Dv<>P"
PALETTE = [*COLOURS, "#F0E442"]


def courses(variants: Sequence[Mapping[Method, Contest]]) -> Figure:
    """A panel per variant: the median accuracy over the seeds by epoch, a line per method, and the quartiles."""
    variants = variants[:PANELS]
    figure, drawn = panels([next(iter(group.values())).variant.title for group in variants])
    lines: list[dict[str, Line2D]] = [{} for _ in drawn]
    for axes, outcomes, named in zip(drawn, variants, lines, strict=True):
        for method, outcome in outcomes.items():
            points = dict(zip(outcome.epochs, outcome.accuracy, strict=True))
            line = {"markevery": 0.12, "ends": QUARTILES}
            named[TITLES[method]] = course(axes, points, ORDER.index(method), **line)
        axes.axhline(100, color="0.4", linestyle=":", linewidth=1)
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.set_xlim(0, outcome.epochs[-1])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_xlabel("epoch")
        axes.set_ylim(0, 104)
    drawn[0].set_ylabel("training accuracy (%)")
    caption = f"median over {len(outcome.seeds)} seeds, band from the lower to the upper quartile"
    every = {title: line for named in lines for title, line in named.items()}
    legend(figure, every.values(), every.keys(), caption)
    ours = TITLES[OURS]
    beside.write(figure, [(ours, named[ours]) for named in lines if ours in named])
    return figure


def regions(outcomes: Mapping[Method, Contest]) -> Figure:
    """A panel per method: the points of one seed, and the class that the trained network predicts everywhere."""
    figure, drawn = panels([""] * len(outcomes), height=2.1)
    for axes, (method, outcome) in zip(drawn, outcomes.items(), strict=True):
        classes = [[int(digit) for digit in row] for row in outcome.sample.regions]
        axes.imshow(
            classes,
            origin="lower",
            extent=(-EXTENT, EXTENT, -EXTENT, EXTENT),
            cmap=ListedColormap(PALETTE),
            vmin=0,
            vmax=CLASSES - 1,
            alpha=0.35,
            interpolation="nearest",
        )
        for label in range(CLASSES):
            x, y = zip(*outcome.sample.points[label * PER_CLASS : (label + 1) * PER_CLASS], strict=True)
            style = {"color": PALETTE[label], "marker": MARKERS[label], "markeredgecolor": "0.15"}
            axes.plot(x, y, linestyle="none", markersize=3.4, markeredgewidth=0.3, **style)
        share = 100 * outcome.correct[0][-1] / outcome.samples
        axes.set_title(f"{TITLES[method]}: {math.floor(10 * share) / 10:g} %")
        axes.grid(visible=False)
        axes.set(aspect="equal", xticks=(-5, 0, 5), yticks=(-5, 0, 5))
    seed = next(iter(outcomes.values())).sample.seed
    caption = f"the points of seed {seed}, a colour and a marker per class; behind them the predicted class"
    figure.supxlabel(caption)
    return figure

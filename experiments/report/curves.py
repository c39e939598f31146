"""The course of training: every method's loss on the validation set, epoch by epoch.

Drawn of experiments whose score is a loss. Of one epoch there is no curve, and such a run is left out.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.record import Record
from experiments.report.aggregate import Cell, Row
from experiments.report.pareto import LOSS, WIDTH, look
from experiments.report.score_tables import foremost
from experiments.style import tidy


def groups(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """(exp, model, scale) -> its rows with a run that ended well, where the score is a loss and one has a curve."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        for exp, cell in row.cells.items():
            if cell.runs and foremost(exp).loss:
                found.setdefault((exp, row.model, row.scale), []).append(row)
    return {key: own for key, own in sorted(found.items()) if any(curve(row.cells[key[0]]) for row in own)}


def curve(cell: Cell) -> dict[float, list[float]]:
    """Epoch -> the loss of each seed (nats), over the epochs that all seeds have; empty where those are fewer than two.

    Raises KeyError: an epoch lacks the metric of the experiment's score.
    """
    column = foremost(cell.runs[0].exp)
    found = by_epoch(cell.runs, lambda epoch: column.value(epoch[column.metric]))
    return found if len(found) > 1 else {}


def by_epoch(runs: Sequence[Record], value: Callable[[dict[str, float]], float]) -> dict[float, list[float]]:
    """Epoch -> the value of each run, over the epochs that all of them have."""
    seeds = [{epoch["epoch"]: value(epoch) for epoch in run.metrics.per_epoch} for run in runs]
    return {epoch: [found[epoch] for found in seeds] for epoch in sorted(set.intersection(*map(set, seeds)))}


def draw(rows: Sequence[Row], exp: str) -> Figure:
    """The figure of one experiment: a line a method, its mean over the seeds, a band from the lowest to the highest.

    A method has the colour and the marker that it has in the Pareto view of the same rows.
    """
    figure = Figure(figsize=(WIDTH, 3.6), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    signs: dict[str, str] = {}
    for index, row in enumerate(sorted(rows, key=_place(exp))):
        cell = row.cells[exp]
        if not (found := curve(cell)):
            continue
        style = look(index)
        label = f"{row.title} ×{len(cell.runs)}{cell.marks}"
        signs |= {sign: meaning for sign, meaning in cell.protocol.signs.items() if sign in cell.marks}
        axes.plot(list(found), [statistics.mean(losses) for losses in found.values()], label=label, **style)
        if len(cell.runs) > 1:
            ends = [min(losses) for losses in found.values()], [max(losses) for losses in found.values()]
            axes.fill_between(list(found), *ends, color=style["color"], alpha=0.2, linewidth=0)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel(f"{LOSS}, validation set", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes)
    figure.suptitle(f"{exp}, {rows[0].model}, {rows[0].scale} scale", fontsize=9)
    caption = "×k: mean over k seeds, band from the lowest to the highest"
    figure.legend(
        title="; ".join([caption, *(f"{sign} {meaning}" for sign, meaning in signs.items())]),
        title_fontsize=6.5,
        fontsize=7,
        loc="outside lower center",
        ncols=max(1, math.ceil(len(rows) / 2)),
        frameon=False,
    )
    return figure


def _place(exp: str) -> Callable[[Row], tuple[float, str]]:
    """The order of the Pareto view: by trained parameters, then by name."""
    return lambda row: (statistics.median(run.params.adapter for run in row.cells[exp].runs), row.title)

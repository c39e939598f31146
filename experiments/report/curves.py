"""The course of training: every method's loss on the validation set, epoch by epoch.

Only for experiments whose score is a loss. A run of one epoch has no curve, and is left out.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.paper.score_tables import leading_column
from experiments.record import Record
from experiments.report.aggregate import Cell, Row, by_experiment
from experiments.report.pareto import LOSS
from experiments.style import blank, course, legend, tidy


def groups(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """(exp, model, scale) -> the rows with a run that succeeded, where the score is a loss and some row has a curve."""
    found = {key: own for key, own in by_experiment(rows).items() if leading_column(key[0]).loss}
    return {key: own for key, own in found.items() if any(curve(row.cells[key[0]]) for row in own)}


def curve(cell: Cell) -> dict[float, list[float]]:
    """Epoch -> the loss of each seed (nats), for the epochs that all seeds have; empty if there are fewer than two.

    Raises KeyError: an epoch lacks the metric of the experiment's score.
    """
    column = leading_column(cell.runs[0].exp)
    found = by_epoch(cell.runs, lambda epoch: column.value(epoch[column.metric]))
    return found if len(found) > 1 else {}


def by_epoch(runs: Sequence[Record], value: Callable[[dict[str, float]], float]) -> dict[float, list[float]]:
    """Epoch -> the value of each run, for the epochs that all runs have."""
    seeds = [{epoch["epoch"]: value(epoch) for epoch in run.metrics.per_epoch} for run in runs]
    return {epoch: [found[epoch] for found in seeds] for epoch in sorted(set.intersection(*map(set, seeds)))}


def draw(rows: Sequence[Row], exp: str) -> Figure:
    """The figure of one experiment: a line per method, the mean over seeds, and a band from the lowest to the highest.

    A method has the colour and the marker that it has in the Pareto view of the same rows.
    """
    figure = blank(3.6)
    axes = figure.subplots()
    signs: dict[str, str] = {}
    for index, row in enumerate(sorted(rows, key=lambda row: (row.cells[exp].trained, row.title))):
        cell = row.cells[exp]
        if not (found := curve(cell)):
            continue
        signs |= {sign: meaning for sign, meaning in cell.protocol.signs.items() if sign in cell.marks}
        ends = (min, max) if len(cell.runs) > 1 else None
        course(axes, found, index, statistics.mean, ends, label=f"{row.title} ×{len(cell.runs)}{cell.marks}")
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel(f"{LOSS}, validation set", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes)
    figure.suptitle(f"{exp}, {rows[0].model}, {rows[0].scale} scale", fontsize=9)
    caption = ["×k: mean over k seeds, band from the lowest to the highest"]
    caption += [f"{sign} {meaning}" for sign, meaning in signs.items()]
    legend(figure, *axes.get_legend_handles_labels(), math.ceil(len(rows) / 2), "; ".join(caption))
    return figure

"""The course of training: every method's loss on the validation set, epoch by epoch.

Only for experiments whose score is a loss. A run of one epoch has no curve, and is left out.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments import beside
from experiments.names import OURS, name
from experiments.paper.score_tables import leading_column
from experiments.record import Record
from experiments.report.aggregate import Cell, Row, by_experiment
from experiments.report.labels import in_order
from experiments.report.pareto import LOSS
from experiments.style import course, legend, panels, wrapped


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
    figure, [axes] = panels([f"{name(exp)}, {name(rows[0].model)}, {rows[0].scale} scale"])
    signs: dict[str, str] = {}
    ours = []
    for index, (row, label) in enumerate(in_order(rows, exp)):
        cell = row.cells[exp]
        if not (found := curve(cell)):
            continue
        signs |= {sign: meaning for sign, meaning in cell.protocol.signs.items() if sign in cell.marks}
        ends = (min, max) if len(cell.runs) > 1 else None
        drawn = course(axes, found, index, statistics.mean, ends, label=f"{label} ×{len(cell.runs)}{cell.marks}")
        ours += [(label, drawn)] if row.method == OURS else []
    axes.set_xlabel("epoch")
    axes.set_ylabel(wrapped(f"{LOSS}, validation set"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    caption = ["×k: mean over k seeds, band: their range"]
    caption += [f"{sign} {meaning}" for sign, meaning in signs.items()]
    legend(figure, *axes.get_legend_handles_labels(), "; ".join(caption))
    beside.write(figure, ours)
    return figure

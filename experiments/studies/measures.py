"""What the studies compute from the records of runs: scores, comparisons, and cells of a table."""

import statistics
from collections.abc import Sequence
from typing import Any

from experiments.names import name
from experiments.record import Record, Selection
from experiments.report import curves
from experiments.report.gaps import Gap, Judged, difference, no_loss
from experiments.report.render import DASH, number, signed, with_spread
from experiments.report.searches import Searches
from experiments.report.verdicts import FEWEST
from experiments.trials import LEGEND, signs

Setting = tuple[Any, ...]


class Groups(dict[Setting, list[Record]]):
    """Setting -> runs, of one model and task, in the order of the table; with the searches behind their rates.

    places: how many models and tasks a study has at this scale: its claims are tested on each.
    """

    searches = Searches()
    places = 1

    @property
    def runs(self) -> list[Record]:
        """All runs."""
        return [run for runs in self.values() for run in runs]

    @property
    def place(self) -> tuple[str, str]:
        """The model and the task."""
        first = self.runs[0]
        return first.model.name, first.task

    @property
    def title(self) -> str:
        """The model and the task, as tables name them."""
        return " on ".join(self.place)

    @property
    def heading(self) -> str:
        """The task and the model, as figures name them."""
        return ", ".join(map(name, self.place[::-1]))

    @property
    def truncated(self) -> list[Setting]:
        """The settings with a rate at the edge of its search."""
        return [setting for setting, runs in self.items() if self.searches.edges(runs[0])]

    def compare(self, ours: Sequence[Record], theirs: Sequence[Record], comparisons: int = 1) -> Judged:
        """Whether ours are above theirs, below, or level; see `gaps.difference`. comparisons: of the claim, here."""
        return gap(ours, theirs).judged(difference(comparisons * self.places))

    def not_worse(self, ours: Sequence[Record], theirs: Sequence[Record], comparisons: int = 1) -> Judged:
        """Whether ours are level with theirs or above, or worse; see `gaps.no_loss`. comparisons: as for `compare`."""
        return gap(ours, theirs).judged(no_loss(comparisons * self.places))


HEADER = ("Adapter per matrix", "Best epoch", "Last epoch", "Seeds", "Rate", "Trials")
EDGES = " ".join(f"{sign} {meaning}." for sign, meaning in LEGEND.items())
NOTE = (
    "Scores: median ± sample standard deviation over the seeds, in percent, of the task's metric on its validation "
    "set, or on its test set where there is one; at the best epoch, which validation chooses, and at the last. Rate: "
    "the adapter's learning rate. Trials: those of the search for it. † fewer than three seeds. ‡ code not at a clean "
    f"commit. {EDGES}"
)


def scores(records: Sequence[Record], selection: Selection = "best") -> list[float]:
    """The primary metric of each run, in percent."""
    return [100 * record.metrics.score(selection) for record in records]


def centre(records: Sequence[Record]) -> float:
    """The median of the best epochs' scores."""
    return statistics.median(scores(records))


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation; None of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def gap(ours: Sequence[Record], theirs: Sequence[Record]) -> Gap:
    """Ours minus theirs in the best epochs' scores, in points. Each side's seeds must differ."""
    return Gap.between(*({run.seed: 100 * run.metrics.score("best") for run in runs} for runs in (ours, theirs)))


def per_matrix(record: Record) -> float:
    """Adapter parameters per adapted matrix. The run must have an analysis of ranks."""
    return record.params.adapter / record.rank.summary.count


def cells(records: Sequence[Record], groups: Groups) -> list[str]:
    """The cells below HEADER, of runs that differ only in their seed."""
    first, selected = records[0], (scores(records, selection) for selection in ("best", "last"))
    best, last = (with_spread(statistics.median(values), spread(values)) for values in selected)
    marks = "†" * (len(records) < FEWEST) + "‡" * any(record.dirty is not False for record in records)
    marks += signs(groups.searches.edges(first))
    return [
        f"{per_matrix(first):,.0f}",
        best + marks,
        last,
        str(len(records)),
        f"{first.config['recipe']['lr']:g}",
        DASH if first.trials is None else str(first.trials),
    ]


def extremes(records: Sequence[Record], groups: Groups) -> list[str]:
    """The cells: number of runs; lowest, median and highest score; standard deviation."""
    values, marks = scores(records), signs(groups.searches.edges(records[0]))
    lowest, middle, highest, deviation = (
        number(value, 2) for value in (min(values), statistics.median(values), max(values), spread(values))
    )
    return [str(len(values)), lowest, middle + marks, highest, deviation]


def drop(records: Sequence[Record], reference: Sequence[Record] | None) -> str:
    """The cell: relative difference of the medians, in percent of the reference."""
    return f"{signed(100 * (centre(records) / centre(reference) - 1))} %" if reference else DASH


def of_every_epoch(records: Sequence[Record]) -> list[str]:
    """The metrics that every run measured in every epoch, except the loss on validation."""
    epochs = [epoch for record in records for epoch in record.metrics.per_epoch]
    return [name for name in epochs[0] if name not in ("epoch", "loss") and all(name in epoch for epoch in epochs)]


def by_epoch(records: Sequence[Record], name: str) -> dict[float, list[float]]:
    """Epoch -> the value of each run, for the epochs that all runs have: losses as recorded, the rest in percent."""
    factor = 1 if name.endswith("loss") else 100
    return curves.by_epoch(records, lambda epoch: factor * epoch[name])

"""A study of ordinary runs: its plan lists them, and their records show a score against a setting."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.errors import UserError
from experiments.record import Record, config_hash, find
from experiments.report.render import Table
from experiments.report.verdicts import SCALES, Claim, Outcome, smaller, verdict
from experiments.studies import drawing, measures
from experiments.studies.base import Report, Study

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """What was found of one model on one task, and whether the claim holds there; None: it cannot be told."""

    said: str
    holds: bool | None


FindOut = Callable[[Sequence[Record]], Finding | None]  # None: these runs do not tell


class Sweep(Study):
    """One question that the records of ordinary runs answer. Subclasses say what they show at one scale."""

    settings: int  # of one task in the paper's plan: with fewer there is no verdict yet
    seeds = 5  # of each, likewise
    pooled: Sequence[str] = ()  # settings of the method in which the runs of one row may differ
    labels: Sequence[str]  # the columns that tell the settings apart
    header: Sequence[str] = measures.HEADER
    notes: Sequence[str] = (measures.NOTE,)
    across = 3  # panels in a row

    def run(
        self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)
    ) -> list[str]:
        """As `Study.run`; `overrides` and `share` as in `plan.carry_out`, whose failed runs it returns."""
        from experiments.studies.plan import carry_out, read_plan  # seconds to import, and not needed to read records

        return carry_out(read_plan(self.name, scale), folder, tuple(overrides), share, scale)

    def records(self, folder: Path) -> list[Record]:
        """Every run of the study that ended well. Raises UserError."""
        return [record for record in find(folder / "records") if record.status == "ok"]

    def reports(self, folder: Path) -> list[Report]:
        return [
            Report(scale, self.tables(records), self.all_notes(folder, scale), self.figures(records))
            for scale, records in self.by_scale(folder).items()
        ]

    def by_scale(self, folder: Path) -> dict[str, list[Record]]:
        """`records`, in the order of the scales. Raises UserError where a row of the table would pool runs that differ
        in more than the seed and `pooled`."""
        scales = grouped(self.records(folder), lambda record: record.scale)
        for own in (
            runs for found in scales.values() for one in by_task(found).values() for runs in self.groups(one).values()
        ):
            if len({_configuration(record, self.pooled) for record in own}) > 1:
                one = own[0]
                raise UserError(
                    f"{folder}: runs of {one.method} on {one.task}, {one.model.name}, seeds {own[0].seed} and "
                    f"{own[-1].seed}, have the same setting and other configurations (of the method, rates, epochs, "
                    "data): move the older ones away"
                )
        return {scale: scales[scale] for scale in SCALES if scale in scales}

    def all_notes(self, folder: Path, scale: str) -> list[str]:
        """`notes`, and the runs of the scale that failed."""
        failed = [record for record in find(folder / "records") if record.status != "ok"]
        return [*self.notes, *(_failure(record) for record in failed if record.scale == scale)]

    def claim(
        self, folder: Path, name: str, statement: str, find_out: FindOut, tasks: int = 1, question: bool = False
    ) -> Claim:
        """A claim by what `find_out` says of one model and task after the other.

        The paper's scale gives the verdict, over at least `tasks` tasks, where one that fails is enough to refute; of a
        task whose settings or seeds are not all there, or whose code was not clean, nothing follows. The small scale is
        told beside it.
        """
        holds, small, measured = [], [], []
        for scale, found in self.by_scale(folder).items():
            for (model, task), records in by_task(found).items():
                if finding := find_out(records):
                    groups = self.groups(records).values()
                    seeds = min(map(len, groups))
                    measured.append(f"{scale}, {model}, {task}: {finding.said}; {_counted(groups)}")
                    clean = all(record.dirty is False for record in records)
                    whole = clean and len(groups) >= self.settings and seeds >= self.seeds
                    holds += [finding.holds] if scale == "paper" and whole else []
                    small += [Outcome(task, finding.holds, seeds if clean else 0)] if scale == "small" else []
        decided = verdict(holds, whole=len(holds) >= tasks)
        return Claim(name, statement, tuple(measured), decided, smaller(small), question)

    def tables(self, records: Sequence[Record]) -> list[Table]:
        """Of the records of one scale: one table a model and task."""
        header = [*self.labels, *self.header]
        return [
            Table(
                measures.title(own),
                header,
                [[*labels, *self.cells(runs, own)] for labels, runs in self.groups(own).items()],
            )
            for own in by_task(records).values()
        ]

    def figures(self, records: Sequence[Record]) -> dict[str, Figure]:
        """Of the records of one scale: one panel a model and task."""
        parts = by_task(records)
        figure, panels = drawing.panels([f"{task}, {model}" for model, task in parts], across=self.across)
        for axes, own in zip(panels, parts.values(), strict=True):
            axes.set_ylabel(f"{own[0].metrics.primary} × 100, best epoch", fontsize=8)
            self.draw(axes, own)
        drawing.caption(figure, panels[0])
        return {"": figure}

    @abstractmethod
    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        """The runs of one model and task, in the order of a table: what tells the settings apart -> runs."""

    def cells(self, runs: Sequence[Record], records: Sequence[Record]) -> list[str]:
        """What the table says of one setting, below `header`; `records` are all of the same model and task."""
        return measures.cells(runs)

    @abstractmethod
    def draw(self, axes: Axes, records: Sequence[Record]) -> None:
        """The panel of one model and task."""


def _counted(groups: Iterable[Sequence[Record]]) -> str:
    """How many runs stand behind each setting, the fewest and the most."""
    counts = sorted({len(runs) for runs in groups})
    return f"runs of each: {'–'.join(map(str, counts[:: max(len(counts) - 1, 1)]))}"


def _configuration(record: Record, pooled: Sequence[str]) -> str:
    """Equal for runs that differ in their seed and the settings `pooled` of their method alone."""
    config = {key: value for key, value in record.config.items() if key != "seed"}
    config["method"] = {key: value for key, value in config["method"].items() if key not in pooled}
    return config_hash({"config": config, "model": record.model.sha256, "dataset": record.dataset.sha256})


def _failure(record: Record) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in record.config["method"].items() if key != "name")
    return f"{record.status}: {record.method} ({settings}) on {record.task}, seed {record.seed}: {record.error}"


def by_task(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """The records of each (model, task)."""
    return grouped(records, lambda record: (record.model.name, record.task))


def grouped(records: Iterable[Record], key: Callable[[Record], Key]) -> dict[Key, list[Record]]:
    """The records by a key, in its order, each group in the order of its seeds."""
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.seed, record.config_hash)):
        found[key(record)].append(record)
    return dict(sorted(found.items()))

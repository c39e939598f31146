"""A study of ordinary runs: its file lists them, and its pages show scores by setting.

Such a study is a `Sweep` in `declared.py`: what distinguishes the settings, and how they are shown. The rest follows
from its file, including the settings, seeds and tasks that a verdict needs.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import style
from experiments.errors import UserError
from experiments.names import name
from experiments.record import Record, find
from experiments.report.aggregate import identity
from experiments.report.page import Page
from experiments.report.render import Table, span
from experiments.report.searches import Searches
from experiments.report.verdicts import SCALES, Claim, Outcome
from experiments.studies import measures, questions, views
from experiments.studies.base import DeclaredStudy
from experiments.studies.measures import Groups, Setting
from experiments.studies.plan import Planned, StudyQuestion
from experiments.studies.questions import Ask
from experiments.work import Ended

Key = TypeVar("Key", bound=Hashable)


def _scored(groups: Groups) -> list[str]:
    return [groups.runs[0].metrics.primary]


@dataclass(frozen=True, kw_only=True)
class Sweep(DeclaredStudy):
    """One sweep.

    setting: the setting of a record or of a planned run. order: the sort key of settings. label: the cells that name a
    setting, below the file's labels. header, cells: the other columns. view: draws the panel of one model, task and
    metric. metrics: those with a panel. maps: figures that need no record, by suffix. notes: below the tables, with
    those of the file. pooled: the method's settings in which the runs of one row may differ. across: panels per row.
    """

    name: str
    setting: Callable[[Record | Planned], Setting]
    view: Callable[[Axes, Groups, str], None]
    order: Callable[[Setting], Any] = tuple
    label: Callable[[Setting], Iterable[Any]] = tuple
    header: Sequence[str] = measures.HEADER
    cells: Callable[[Sequence[Record], Groups], list[str]] = measures.cells
    metrics: Callable[[Groups], Sequence[str]] = _scored
    maps: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    notes: Sequence[str] = (measures.NOTE,)
    pooled: Sequence[str] = ()
    across: int = 3

    def run(self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)) -> Ended:
        """See `Study.run`."""
        from experiments.studies.runs import carry_out  # seconds to import, and not needed to read records

        return carry_out(self.file.plan(self.name, scale), folder, tuple(overrides), share, scale)

    def records(self, folder: Path) -> list[Record]:
        """The study's runs that succeeded. Raises UserError."""
        return [record for record in find(folder / "records") if record.status == "ok"]

    def pages(self, folder: Path) -> list[Page]:
        pages, failed = [], [record for record in find(folder / "records") if record.status != "ok"]
        for scale, found in self.by_scale(folder).items():
            notes = [*self.notes, *self.file.notes, *(_failure(record) for record in failed if record.scale == scale)]
            figures = {"figures": {"": partial(self.figure, found, folder)}, "shared": self.shared(folder)}
            pages.append(Page(self.key, self.title, self.tables(found, folder), notes, scale, **figures))
        return pages

    def by_scale(self, folder: Path) -> dict[str, list[Groups]]:
        """Scale -> the runs of each model and task. Raises UserError where a row of the table would pool runs that
        differ in more than the seed and `pooled`."""
        scales, searches = grouped(self.records(folder), lambda record: record.scale), self.searches(folder)
        found = {
            scale: [self.groups(own) for own in grouped(scales[scale], lambda run: (run.model.name, run.task)).values()]
            for scale in SCALES
            if scale in scales
        }
        for own in found.values():
            for groups in own:
                groups.searches, groups.places = searches, len(own)
        for runs in (runs for places in found.values() for groups in places for runs in groups.values()):
            if len({identity(run, self.pooled) for run in runs}) > 1:
                first, last = runs[0], runs[-1]
                raise UserError(
                    f"{folder}: runs of {first.method} on {first.task}, {first.model.name}, seeds {first.seed} and "
                    f"{last.seed}, have the same setting and other configurations (of the method, rates, epochs, "
                    "data): move the older ones away"
                )
        return found

    def searches(self, folder: Path) -> Searches:
        """Those that may have found the rates of the study's runs: its own, other studies', the suite's."""
        return Searches.read(folder.parents[1] / "search", folder.parent)

    def groups(self, records: Iterable[Record]) -> Groups:
        """Group the runs of one model and task by setting."""
        return Groups(grouped(records, self.setting, self.order))

    def claims(self, folder: Path) -> list[Claim]:
        found = self.by_scale(folder)
        return [self.claim(question, self.ask(question.ask, folder), found) for question in self.file.questions]

    def ask(self, name: str, folder: Path) -> Ask:
        """The function that answers a question. Raises UserError where there is none."""
        if not hasattr(questions, name):
            raise UserError(f"configs/study/{self.name}.yaml: ask={name}: questions.py has no such function")
        return getattr(questions, name)

    def claim(self, question: StudyQuestion, ask: Ask, found: Mapping[str, Sequence[Groups]]) -> Claim:
        """Ask the question of each model and task.

        At the paper's scale a task whose planned runs are not complete, or whose code was not clean, is no evidence;
        the verdict needs all tasks of the question. What rests on a search that ended at an edge cannot tell. The seeds
        and the edges that count are those of the settings that the finding judges.
        """
        measured, outcomes, judged = [], [], set()
        for scale, groups in ((scale, groups) for scale, places in found.items() for groups in places):
            if finding := ask(groups):
                place, truncated = groups.place, groups.truncated
                counts = {setting: len(runs) for setting, runs in groups.items()}
                told = f"{scale}, {', '.join(place)}: {finding.said}; runs of each: {span(counts.values())}"
                edges = f"; a rate at the edge of its search in {len(truncated)} of {len(counts)}" if truncated else ""
                measured.append(told + edges)
                evidence = all(run.dirty is False for run in groups.runs) and (
                    scale != "paper" or self.is_whole(groups)
                )
                rests_on = finding.judged or counts
                seeds, at_edge = min(map(counts.get, rests_on)), not {*truncated}.isdisjoint(rests_on)
                holds = None if at_edge else finding.holds
                outcomes.append(Outcome(scale, place[1], holds, seeds, evidence=evidence, at_edge=at_edge))
                judged |= {place} if scale == "paper" and evidence else set()
        needed = {place for place in self.planned if place[1] in question.tasks or not question.tasks}
        return Claim(
            question.name,
            question.statement,
            tuple(measured),
            tuple(outcomes),
            (self.key,),
            judged >= needed,
            question.is_open,
        )

    @cached_property
    def planned(self) -> dict[tuple[str, str], Counter[Setting]]:
        """(model, task) -> the number of runs of each setting in the plan of the paper's scale, if there is one."""
        places = self.file.paper.places if self.file.paper else {}
        return {place: Counter(map(self.setting, runs)) for place, runs in places.items()}

    def is_whole(self, groups: Groups) -> bool:
        """Whether every planned run of this model and task is there."""
        planned = self.planned.get(groups.place, {})
        return bool(planned) and all(len(groups.get(setting, ())) >= count for setting, count in planned.items())

    def tables(self, found: Sequence[Groups], folder: Path) -> list[Table]:
        """The tables of one scale, one per model and task."""
        return [
            Table(
                f"{groups.title}, {groups.runs[0].metrics.primary}",
                [*self.file.labels, *self.header],
                [[*map(str, self.label(one)), *self.cells(runs, groups)] for one, runs in groups.items()],
            )
            for groups in found
        ]

    def shared(self, folder: Path) -> Mapping[str, Callable[[], Figure]]:
        """What draws the figures that are the same at every scale, by the suffixes of their file names."""
        return self.maps

    def figure(self, found: Sequence[Groups], folder: Path) -> Figure:
        """A panel per model, task and metric."""
        shown = [(groups, metric) for groups in found for metric in self.metrics(groups)]
        titles = [groups.heading for groups, _ in shown]
        figure, panels = style.panels(titles, across=self.across)
        for axes, (groups, metric) in zip(panels, shown, strict=True):
            axes.set_ylabel(f"{name(metric)} × 100, best epoch")
            self.view(axes, groups, metric)
        views.caption(figure, panels)
        return figure


def _failure(record: Record) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in record.config["method"].items() if key != "name")
    return f"{record.status}: {record.method} ({settings}) on {record.task}, seed {record.seed}: {record.error}"


def grouped(
    records: Iterable[Record], key: Callable[[Record], Key], order: Callable[[Key], Any] = lambda key: key
) -> dict[Key, list[Record]]:
    """Key -> records, sorted by key, each group sorted by seed."""
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.seed, record.config_hash)):
        found[key(record)].append(record)
    return {one: found[one] for one in sorted(found, key=order)}

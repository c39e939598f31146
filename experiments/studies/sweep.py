"""A study of ordinary runs: its plan lists them, and their records show a score against a setting."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from experiments.analysis.render import Table
from experiments.record import Record, find
from experiments.studies.base import Report, Study

Key = TypeVar("Key", bound=Hashable)


class Sweep(Study):
    """One question that the records of ordinary runs answer. Subclasses say what they show at one scale."""

    notes: Sequence[str] = ()

    def run(
        self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)
    ) -> list[str]:
        """As `Study.run`; `overrides` and `share` as in `plan.carry_out`, whose failed runs it returns."""
        from experiments.studies.plan import carry_out, read_plan  # seconds to import, and not needed to read records

        return carry_out(read_plan(self.name, scale), folder, tuple(overrides), share)

    def records(self, folder: Path) -> list[Record]:
        """Every run of the study that ended well."""
        return [record for record in find(folder / "records") if record.status == "ok"]

    def reports(self, folder: Path) -> list[Report]:
        scales = grouped(self.records(folder), lambda record: record.scale)
        return [Report(scale, self.tables(own), self.notes, self.figures(own)) for scale, own in scales.items()]

    @abstractmethod
    def tables(self, records: Sequence[Record]) -> list[Table]:
        """Of the records of one scale."""

    @abstractmethod
    def figures(self, records: Sequence[Record]) -> Mapping[str, Figure]:
        """Of the records of one scale, by a word that tells them apart."""


def grouped(records: Iterable[Record], key: Callable[[Record], Key]) -> dict[Key, list[Record]]:
    """The records by a key, in its order, each group in the order of its seeds."""
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.seed):
        found[key(record)].append(record)
    return dict(sorted(found.items()))

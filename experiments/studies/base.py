"""The contract of a study: measurements for some questions about the paper, their pages and their claims."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from experiments.composing import composed
from experiments.config import load
from experiments.errors import UserError
from experiments.record import read
from experiments.report.costs import Run
from experiments.report.page import Page
from experiments.report.verdicts import Claim
from experiments.studies.plan import StudyFile, read_study
from experiments.trials import Trials, place
from experiments.work import Ended


class Study(ABC):
    """One study. It writes to and reads from its own folder, results/studies/<name>, only."""

    name: str  # also of its folder and its command, make study-<name>
    title: str
    scale = "mini"  # the default: takes minutes, and no files

    @abstractmethod
    def run(self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)) -> Ended:
        """Measure what the folder lacks at one scale; returns how that ended. overrides, share: as in
        `runs.carry_out`. Raises UserError where the study lacks the scale, or
        has no runs that could be overridden or shared."""

    @abstractmethod
    def pages(self, folder: Path) -> list[Page]:
        """One page per measured scale, in the order of the scales. Raises UserError for an invalid file.

        The same files give the same tables and figures, byte for byte.
        """

    @abstractmethod
    def claims(self, folder: Path) -> list[Claim]:
        """The claims that the study tests, with their outcomes."""

    @property
    def key(self) -> str:
        """The key of its pages."""
        return f"study_{self.name}"

    def one_measurement(self, scale: str, overrides: Sequence[str], share: tuple[int, int]) -> None:
        """For a study that is a single measurement: raises UserError for another scale, overrides or a share."""
        if scale != self.scale:
            raise UserError(f"scale={scale}: the study {self.name} has no such scale; use scale={self.scale}")
        if overrides or share != (1, 1):
            raise UserError(f"study {self.name} is one measurement: it takes neither overrides nor --share")


class DeclaredStudy(Study):
    """A study whose texts, questions and runs stand in its file."""

    @cached_property
    def file(self) -> StudyFile:
        """The content of configs/study/<name>.yaml."""
        return read_study(self.name)

    @property
    def title(self) -> str:
        return self.file.title

    def to_do(
        self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)
    ) -> dict[str, list[Run]]:
        """The runs of one scale, by setting; with the rates that a search found, or else the lowest that it may try.

        The arguments are those of `run`. Raises UserError as that does.
        """
        plan, found = self.file.plan(self.name, scale), {}
        for setting, seeds in plan.part(share):
            words = [*setting, *overrides, f"scale={scale}", f"record.dir={folder / 'records'}"]
            said = composed("config", *words) if plan.search else None
            if said and (ranges := plan.search.asked(said.method.name, setting)):
                file = folder / "search" / place(said.task.name, said.model.name, said.method.name, setting)
                point = read(file, Trials).point if file.exists() else {key: low for key, (low, _) in ranges.items()}
                words += [f"{key}={value}" for key, value in point.items()]
            config = load(*words)
            each = (int(seed.removeprefix("seed=")) for seed in seeds)
            found[" ".join(setting)] = [Run(words, config.model_copy(update={"seed": seed})) for seed in each]
        return found

"""What a study is: runs that settle one question of the paper, and what they show, scale by scale."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from experiments.errors import UserError
from experiments.report.page import Page
from experiments.report.verdicts import Claim


class Study(ABC):
    """One question. Its folder, results/studies/<name>, is its own; what it shows is read from there alone."""

    name: str  # of its folder and of its command, make study-<name>
    title: str
    scale = "mini"  # where none is asked for: minutes, no files needed

    @abstractmethod
    def run(
        self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)
    ) -> list[str]:
        """Measure at one scale what is not in the folder yet; returns what failed. `overrides` and `share` as in
        `runs.carry_out`. Hydra has to be set up with the suite's configs. Raises UserError where the study has no such
        scale, or no runs that could be overridden or shared."""

    @abstractmethod
    def pages(self, folder: Path) -> list[Page]:
        """One page a scale that was measured, in the order of the scales. Raises UserError for a file that is none.

        The same files give the same tables and figures, to the byte.
        """

    @abstractmethod
    def claims(self, folder: Path) -> list[Claim]:
        """The claims of the paper that the study is about, each with what was found of it."""

    @property
    def key(self) -> str:
        """Of its pages."""
        return f"study_{self.name}"

    def one_measurement(self, scale: str, overrides: Sequence[str], share: tuple[int, int]) -> None:
        """Raises UserError where a study that is one measurement is asked for another scale, or for a part of it."""
        if scale != self.scale:
            raise UserError(f"scale={scale}: the study {self.name} has no such scale; use scale={self.scale}")
        if overrides or share != (1, 1):
            raise UserError(f"study {self.name} is one measurement: it takes neither overrides nor --share")

"""What a study is: runs that settle one question of the paper, and what they show, scale by scale."""

from abc import ABC, abstractmethod
from pathlib import Path

from experiments.report.page import Page
from experiments.report.verdicts import Claim


class Study(ABC):
    """One question. Its folder, results/studies/<name>, is its own; what it shows is read from there alone."""

    name: str  # of its folder and of its command, make study-<name>
    title: str
    scale = "mini"  # where none is asked for: minutes, no files needed

    @abstractmethod
    def run(self, scale: str, folder: Path) -> None:
        """Measure at one scale what is not in the folder yet. Raises UserError where the study has no such scale."""

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

"""What a study is: runs that settle one question of the paper, and what they show, scale by scale."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from experiments.report.render import Table
from experiments.report.verdicts import Claim


@dataclass(frozen=True)
class Report:
    """What a study shows at one scale: tables with the notes below them, and figures by a word that tells them apart
    ("" for the one that needs none)."""

    scale: str
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)


class Study(ABC):
    """One question. `folder` is its own, results/studies/<name>; what it shows is read from there alone."""

    name: str  # of its folder and of its command, make study-<name>
    title: str
    scale = "mini"  # where none is asked for: minutes, no files needed

    @abstractmethod
    def run(self, scale: str, folder: Path) -> None:
        """Measure at one scale what is not in the folder yet. Raises UserError where the study has no such scale."""

    @abstractmethod
    def reports(self, folder: Path) -> list[Report]:
        """One report a scale that was measured, in the order of the scales. Raises UserError for a file that is none.

        The same files give the same tables and figures, to the byte.
        """

    @abstractmethod
    def claims(self, folder: Path) -> list[Claim]:
        """The claims of the paper that the study is about, each with its verdict."""

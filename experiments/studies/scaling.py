"""Scaling with n (Figure 4)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.analysis.render import Table
from experiments.analysis.verdicts import Claim
from experiments.record import Record
from experiments.studies.sweep import Sweep


class Scaling(Sweep):
    """The score against the trained parameters of a matrix."""

    name = "scaling"
    title = "Scaling with n (Figure 4)"

    def tables(self, records: Sequence[Record]) -> list[Table]:
        return []

    def figures(self, records: Sequence[Record]) -> Mapping[str, Figure]:
        return {}

    def claims(self, folder: Path) -> list[Claim]:
        return []

"""Initialisation: coefficients from N(0, 1), the paper's, against zeros, which leave the model as it was."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from experiments.record import Record
from experiments.report.render import signed
from experiments.report.verdicts import Claim
from experiments.studies import drawing, measures
from experiments.studies.sweep import Finding, Sweep, grouped

TASKS = 4


class Initialisation(Sweep):
    """normal against zeros."""

    name = "initialisation"
    title = "Initialisation"
    settings = 2
    labels = ("Initial",)
    notes = (measures.NOTE, "The rates are those of the recipe, found with normal.")

    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        return {(init,): runs for init, runs in _inits(records).items()}

    def draw(self, axes: Axes, records: Sequence[Record]) -> None:
        drawing.lines(axes, {init: measures.by_epoch(runs) for init, runs in _inits(records).items()})
        drawing.epochs(axes)
        axes.set_ylabel(f"{records[0].metrics.primary} × 100", fontsize=8)

    def claims(self, folder: Path) -> list[Claim]:
        return [
            self.claim(
                folder,
                "Initialisation",
                "The paper starts from N(0, 1), so that ΔW is not zero at the start. Is that better than zeros?",
                _compare,
                TASKS,
                question=True,
            )
        ]


def _inits(records: Sequence[Record]) -> dict[str, list[Record]]:
    return grouped(records, lambda record: record.config["method"]["init"])


def _compare(records: Sequence[Record]) -> Finding | None:
    inits = _inits(records)
    if len(inits) < 2:
        return None
    gap, above = measures.compare(inits["normal"], inits["zeros"])
    return Finding(f"normal minus zeros {signed(gap)} points", above)

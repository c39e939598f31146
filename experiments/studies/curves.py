"""Training curves (Figure 6): the course of training with LoRA r=1 and with FourierFT of as many parameters."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.record import Record
from experiments.report.verdicts import Claim
from experiments.studies import drawing, measures
from experiments.studies.sweep import Finding, Sweep, by_task, grouped

LOSS = "train_loss"


class Curves(Sweep):
    """Score and training loss, epoch by epoch."""

    name = "curves"
    title = "Training curves (Figure 6)"
    settings = 2
    labels = ("Method",)
    notes = (measures.NOTE, "The rates are the recipes', found at other sizes, r=8 and n=1000.")

    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        return {(method,): runs for method, runs in _methods(records).items()}

    def draw(self, axes: Axes, records: Sequence[Record], name: str | None = None) -> None:
        drawing.lines(axes, {method: measures.by_epoch(runs, name) for method, runs in _methods(records).items()})
        drawing.epochs(axes)

    def figures(self, records: Sequence[Record]) -> dict[str, Figure]:
        parts = by_task(records)
        shown = [(own, name, f"{task}, {model}") for (model, task), own in parts.items() for name in _measured(own)]
        figure, panels = drawing.panels([title for _, _, title in shown])
        for axes, (own, name, _) in zip(panels, shown, strict=True):
            self.draw(axes, own, name)
            axes.set_ylabel("training loss, mean of the epoch" if name == LOSS else f"{name} × 100", fontsize=8)
        drawing.caption(figure, panels[0])
        return {"": figure}

    def claims(self, folder: Path) -> list[Claim]:
        return [
            self.claim(
                folder,
                "Training curves",
                "With as many parameters (LoRA r=1) FourierFT is better throughout training, in score and in loss "
                "(Figure 6, MRPC).",
                _is_better,
            )
        ]


def _methods(records: Sequence[Record]) -> dict[str, list[Record]]:
    return grouped(records, lambda record: record.method)


def _measured(records: Sequence[Record]) -> list[str]:
    """What every run measured in every epoch, but for the loss on validation."""
    epochs = [epoch for record in records for epoch in record.metrics.per_epoch]
    return [name for name in epochs[0] if name not in ("epoch", "loss") and all(name in epoch for epoch in epochs)]


def _is_better(records: Sequence[Record]) -> Finding | None:
    """In at least nine of ten epochs, in score and, where it was measured, in the training loss."""
    methods = _methods(records)
    if not {"fourierft", "lora"} <= methods.keys():
        return None
    said, shares = [], []
    for name, sign in ((records[0].metrics.primary, 1), (LOSS, -1)):
        if name in _measured(records):
            ours, theirs = (measures.by_epoch(methods[method], name) for method in ("fourierft", "lora"))
            gaps = [statistics.median(ours[epoch]) - statistics.median(theirs[epoch]) for epoch in ours.keys() & theirs]
            better = sum(sign * gap > 0 for gap in gaps)
            said.append(f"FourierFT's {name} better in {better} of {len(gaps)} epochs")
            shares.append(better / len(gaps))
    return Finding(", ".join(said), min(shares) >= 0.9)

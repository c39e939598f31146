"""Training curves (Figure 6): the course of training with LoRA r=1 and with FourierFT of as many parameters."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.render import signed
from experiments.analysis.verdicts import Claim
from experiments.record import Record
from experiments.studies import drawing, measures
from experiments.studies.sweep import Finding, Sweep, by_task, grouped

LOSS = "train_loss"


class Curves(Sweep):
    """Score and training loss, epoch by epoch."""

    name = "curves"
    title = "Training curves (Figure 6)"
    labels = ("Method",)

    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        return {(method,): runs for method, runs in _methods(records).items()}

    def draw(self, axes: Axes, records: Sequence[Record], name: str | None = None) -> None:
        drawing.lines(axes, {method: measures.by_epoch(runs, name) for method, runs in _methods(records).items()})
        axes.set_xlabel("epoch", fontsize=8)

    def figures(self, records: Sequence[Record]) -> dict[str, Figure]:
        parts = by_task(records)
        shown = [
            (own, name, f"{task}, {model}")
            for (model, task), own in parts.items()
            for name in own[0].metrics.per_epoch[0]
            if name not in ("epoch", "loss")
        ]
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
                _is_above,
                tasks=1,
            )
        ]


def _methods(records: Sequence[Record]) -> dict[str, list[Record]]:
    return grouped(records, lambda record: record.method)


def _is_above(records: Sequence[Record]) -> Finding | None:
    """In at least nine of ten epochs."""
    methods = _methods(records)
    if not {"fourierft", "lora"} <= methods.keys():
        return None
    ours, theirs = (measures.by_epoch(methods[method]) for method in ("fourierft", "lora"))
    gaps = [statistics.median(ours[epoch]) - statistics.median(theirs[epoch]) for epoch in ours if epoch in theirs]
    above = sum(gap > 0 for gap in gaps)
    said = f"FourierFT above LoRA in {above} of {len(gaps)} epochs, {signed(gaps[-1])} points in the last"
    return Finding(said, above >= 0.9 * len(gaps))

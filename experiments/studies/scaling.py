"""Scaling with n (Figure 4): the score against the trained parameters of a matrix, FourierFT against LoRA."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes

from experiments.analysis.render import signed
from experiments.analysis.verdicts import Claim
from experiments.record import Record
from experiments.studies import drawing, measures
from experiments.studies.sweep import Finding, Sweep, grouped

SIZES = {"fourierft": "n", "lora": "r"}
TASKS = 6  # of the paper's figure
Sizes = Mapping[int, Sequence[Record]]


class Scaling(Sweep):
    """More coefficients against more rank."""

    name = "scaling"
    title = "Scaling with n (Figure 4)"
    labels = ("Method", "Size")
    notes = (measures.NOTE, "Each size of each method had a search of its own, with the same number of trials.")

    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        return {
            (method, f"{SIZES[method]}={size}"): runs
            for method, sizes in _methods(records).items()
            for size, runs in sizes.items()
        }

    def draw(self, axes: Axes, records: Sequence[Record]) -> None:
        series = {
            method: {measures.per_matrix(runs[0]): measures.scores(runs) for runs in sizes.values()}
            for method, sizes in _methods(records).items()
        }
        drawing.lines(axes, series, log=True)
        axes.set_xlabel("trained parameters of a matrix", fontsize=8)

    def claims(self, folder: Path) -> list[Claim]:
        return [
            self.claim(
                folder,
                "Scaling with n",
                "More coefficients help consistently; more LoRA rank does not always (Figure 4).",
                _helps,
                TASKS,
            ),
            self.claim(
                folder,
                "Equal parameters",
                "With as many parameters FourierFT is above LoRA, on six of six tasks (Figure 4: n=6144 and 12288 "
                "against r=4 and 8).",
                _is_above,
                TASKS,
            ),
        ]


def _methods(records: Sequence[Record]) -> dict[str, dict[int, list[Record]]]:
    """Method -> its size, n or r -> its runs."""
    return {
        method: grouped(own, lambda record: record.config["method"][SIZES[record.method]])
        for method, own in grouped(records, lambda record: record.method).items()
    }


def _helps(records: Sequence[Record]) -> Finding | None:
    """Every larger n is better than the one before, and not so every larger r."""
    methods = _methods(records)
    if min((len(sizes) for sizes in methods.values()), default=0) < 2 or len(methods) < 2:
        return None
    steps = {method: _steps(sizes) for method, sizes in methods.items()}
    said = ", ".join(f"{method} {sum(ups)} of {len(ups)} steps up" for method, ups in steps.items())
    return Finding(said, all(steps["fourierft"]) and not all(steps["lora"]))


def _steps(sizes: Sizes) -> list[bool]:
    """Of each size but the first, whether its median is above that of the size before."""
    medians = [measures.centre(runs) for runs in sizes.values()]
    return [after > before for before, after in pairwise(medians)]


def _is_above(records: Sequence[Record]) -> Finding | None:
    """Wherever an n has as many parameters as an r."""
    ours, theirs = (
        {measures.per_matrix(runs[0]): runs for runs in _methods(records).get(method, {}).values()} for method in SIZES
    )
    gaps = {size: measures.centre(ours[size]) - measures.centre(theirs[size]) for size in ours if size in theirs}
    if not gaps:
        return None
    said = ", ".join(f"{signed(gap)} points at {size:,.0f} parameters a matrix" for size, gap in gaps.items())
    return Finding(f"FourierFT minus LoRA {said}", all(gap > 0 for gap in gaps.values()))

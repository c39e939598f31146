"""Scaling with n (Figure 4): the score against the trained parameters of a matrix, FourierFT against LoRA."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes

from experiments.record import Record
from experiments.report.render import signed
from experiments.report.verdicts import Claim
from experiments.studies import drawing, measures
from experiments.studies.sweep import Finding, Sweep, grouped

SIZES = {"fourierft": "n", "lora": "r"}
TASKS = 6  # of the paper's figure; three of them in its claim of the smallest sizes
Runs = Sequence[Record]


class Scaling(Sweep):
    """More coefficients against more rank."""

    name = "scaling"
    title = "Scaling with n (Figure 4)"
    settings = 12
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
                folder, "Scaling with n", "More coefficients help FourierFT consistently (Figure 4).", _helps, TASKS
            ),
            self.claim(
                folder,
                "Equal parameters",
                "With as many parameters FourierFT is above LoRA, on six of six tasks (Figure 4: n=6144 and 12288 "
                "against r=4 and 8).",
                _is_above,
                TASKS,
            ),
            self.claim(
                folder,
                "Fewest parameters",
                "With 31 times fewer parameters n=50 is level with LoRA r=1 or better, on MRPC, CoLA, RTE (Figure 4).",
                _is_level,
                TASKS // 2,
            ),
        ]


def _methods(records: Sequence[Record]) -> dict[str, dict[int, list[Record]]]:
    """Method -> its size, n or r -> its runs."""
    return {
        method: grouped(own, lambda record: record.config["method"][SIZES[record.method]])
        for method, own in grouped(records, lambda record: record.method).items()
    }


def _helps(records: Sequence[Record]) -> Finding | None:
    """The largest n beats the smallest, and no step up in n is one down in score beyond the noise. LoRA's are told."""
    methods = _methods(records)
    ours = list(methods.get("fourierft", {}).values())
    if len(ours) < 2:
        return None
    said = ", ".join(
        f"{method} from {measures.centre(runs[0]):.1f} to {measures.centre(runs[-1]):.1f}, "
        f"{sum(measures.compare(*pair)[0] > 0 for pair in _steps(runs))} of {len(runs) - 1} steps up"
        for method, runs in ((method, list(sizes.values())) for method, sizes in methods.items())
    )
    steps = [measures.compare(*pair, comparisons=len(ours))[1] for pair in _steps(ours)]
    return Finding(said, False if False in steps else measures.compare(ours[-1], ours[0], len(ours))[1])


def _steps(sizes: Sequence[Runs]) -> list[tuple[Runs, Runs]]:
    """Each size but the first with the one before."""
    return [(after, before) for before, after in pairwise(sizes)]


def _is_above(records: Sequence[Record]) -> Finding | None:
    """Wherever an n has as many parameters as an r."""
    ours, theirs = (
        {measures.per_matrix(runs[0]): runs for runs in _methods(records).get(method, {}).values()} for method in SIZES
    )
    shared = [size for size in ours if size in theirs]
    if not shared:
        return None
    found = {size: measures.compare(ours[size], theirs[size], len(shared)) for size in shared}
    said = ", ".join(f"{signed(gap)} points at {size:,.0f} parameters a matrix" for size, (gap, _) in found.items())
    return Finding(f"FourierFT minus LoRA {said}", measures.all_of(above for _, above in found.values()))


def _is_level(records: Sequence[Record]) -> Finding | None:
    """The smallest n against the smallest r: level or above."""
    smallest = [next(iter(_methods(records).get(method, {}).items()), None) for method in SIZES]
    if None in smallest:
        return None
    (n, ours), (r, theirs) = smallest
    gap, level = measures.not_below(ours, theirs)
    times = measures.per_matrix(theirs[0]) / measures.per_matrix(ours[0])
    said = f"n={n} minus LoRA r={r} {signed(gap)} points with {times:.0f} times fewer parameters"
    return Finding(said, level)

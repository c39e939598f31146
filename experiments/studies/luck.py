"""Luck in the positions: how much a score hangs on the seed of the entries, beside the seed of everything else."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from experiments.record import Record
from experiments.report.render import number
from experiments.report.verdicts import Claim
from experiments.studies import drawing, measures
from experiments.studies.sweep import Finding, Sweep

PAPERS = 2024
TASKS = 2
POSITIONS, TRAINING = "positions vary", "training varies"


class Luck(Sweep):
    """Many seeds of the positions with one seed of training, and the other way round."""

    name = "luck"
    title = "Luck in the positions"
    settings, seeds = 2, 20
    pooled = ("entry_seed",)
    labels = ("Seeds",)
    header = ("Runs", "Lowest", "Median", "Highest", "Standard deviation")
    notes = (
        "positions vary: the seed of the entries, with one seed of training (coefficients at the start, head, order of "
        f"the data). training varies: that seed, with the paper's positions, {PAPERS}. Scores in percent, best epoch.",
        "Deviations are of samples. Their ratio is judged by Levene's test of equal spreads.",
    )

    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        return {(what,): runs for what, runs in _parts(records).items()}

    def cells(self, runs: Sequence[Record], records: Sequence[Record]) -> list[str]:
        values = sorted(measures.scores(runs))
        shown = values[0], statistics.median(values), values[-1], measures.spread(values)
        return [str(len(values)), *(number(value, 2) for value in shown)]

    def draw(self, axes: Axes, records: Sequence[Record]) -> None:
        parts = _parts(records).items()
        drawing.dots(axes, {f"{what}, ×{len(runs)}": measures.scores(runs) for what, runs in parts})

    def claims(self, folder: Path) -> list[Claim]:
        return [
            self.claim(
                folder,
                "Luck in the positions",
                "The paper draws its positions once. Does a score hang on them less than on the seed of training?",
                _compare,
                TASKS,
                question=True,
            )
        ]


def _parts(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The runs whose positions vary, with the seed of training that most of them have, and those whose training does.
    The run that both have in common is of the former alone, since a test takes them as independent."""
    common = statistics.mode(record.seed for record in records)
    found = {
        POSITIONS: [record for record in records if record.seed == common],
        TRAINING: [record for record in records if record.seed != common],
    }
    return {what: runs for what, runs in found.items() if len(runs) > 1}


def _compare(records: Sequence[Record]) -> Finding | None:
    from scipy.stats import levene  # a second to import

    found = {what: measures.scores(runs) for what, runs in _parts(records).items()}
    if len(found) < 2:
        return None
    deviations = {what: statistics.stdev(values) for what, values in found.items()}
    p = float(levene(*found.values()).pvalue)
    counted = {what: f"{deviations[what]:.2f} points over {len(values)} runs" for what, values in found.items()}
    said = f"deviation {counted[POSITIONS]} where the {POSITIONS}, {counted[TRAINING]} where {TRAINING}"
    less = deviations[POSITIONS] < deviations[TRAINING] if p < measures.LEVEL else None
    return Finding(f"{said} (Levene's test: p = {p:.2f})", less)

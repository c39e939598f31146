"""Positions on a grid against random positions, at equal n: what the cheaper form costs in score."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from experiments.record import Record
from experiments.report.render import signed
from experiments.report.verdicts import Claim
from experiments.studies import drawing, measures
from experiments.studies.sweep import Finding, Sweep, grouped

TASKS = 4


class Grid(Sweep):
    """entries=grid: a set of rows times a set of columns of the spectrum."""

    name = "grid"
    title = "Positions on a grid"
    settings = 6
    labels = ("Positions", "n")
    header = (*measures.HEADER, "Rank")
    notes = (
        measures.NOTE,
        "Rank: the median numerical rank of ΔW; a grid of a × b positions has at most 2 min(a, b). What a grid saves "
        "in time and memory stands with the speed of a training step.",
    )

    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        return {(kind, str(n)): runs for kind, sizes in _entries(records).items() for n, runs in sizes.items()}

    def cells(self, runs: Sequence[Record], records: Sequence[Record]) -> list[str]:
        return [*measures.cells(runs), f"{runs[0].rank.summary.numerical_rank.median:g}"]

    def draw(self, axes: Axes, records: Sequence[Record]) -> None:
        series = {
            kind: {n: measures.scores(runs) for n, runs in sizes.items()} for kind, sizes in _entries(records).items()
        }
        drawing.lines(axes, series, log=True)
        axes.set_xlabel("n, coefficients of a matrix", fontsize=8)

    def claims(self, folder: Path) -> list[Claim]:
        return [
            self.claim(
                folder,
                "Positions on a grid",
                "Beyond the paper: do positions on a grid score no worse than random ones, at equal n?",
                _is_level,
                TASKS,
                question=True,
            )
        ]


def _entries(records: Sequence[Record]) -> dict[str, dict[int, list[Record]]]:
    """Kind of positions -> n -> its runs."""
    kinds = grouped(records, lambda record: record.config["method"].get("entries", "random"))
    return {kind: grouped(own, lambda record: record.config["method"]["n"]) for kind, own in kinds.items()}


def _is_level(records: Sequence[Record]) -> Finding | None:
    """At every n."""
    kinds = _entries(records)
    grid, random = kinds.get("grid", {}), kinds.get("random", {})
    shared = [n for n in grid if n in random]
    found = {n: measures.not_below(grid[n], random[n], len(shared)) for n in shared}
    said = ", ".join(f"{signed(gap)} at n={n}" for n, (gap, _) in found.items())
    level = measures.all_of(level for _, level in found.values())
    return Finding(f"grid minus random {said}", level) if found else None

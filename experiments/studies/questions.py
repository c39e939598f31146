"""The functions that answer the questions of the sweeps, each from the runs of one model and task."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from experiments.record import Record
from experiments.report.render import signed
from experiments.studies import measures
from experiments.studies.measures import Groups

POSITIONS, TRAINING = "positions vary", "training varies"
BASES = ("fourier", "dct", "hartley", "haar", "orthogonal", "random", "identity")
TRIED = ("random", "orthogonal")  # by the paper


@dataclass(frozen=True)
class Finding:
    """What was found for one model and task, in words, and whether the claim holds there; None: undecided."""

    said: str
    holds: bool | None


Ask = Callable[[Groups], Finding | None]  # None where the runs lack what the question compares


def _by_first(groups: Groups) -> dict[str, dict[float, list[Record]]]:
    """First part of the setting -> second part -> runs."""
    found: dict[str, dict[float, list[Record]]] = {}
    for (first, second), runs in groups.items():
        found.setdefault(first, {})[second] = runs
    return found


# --- scaling ---------------------------------------------------------------------------------------------------------


def helps(groups: Groups) -> Finding | None:
    """The largest n beats the smallest, and no n is significantly worse than the next smaller. LoRA: reported only."""
    methods = {method: list(sizes.values()) for method, sizes in _by_first(groups).items()}
    ours = methods.get("fourierft", [])
    if len(ours) < 2:
        return None
    said = ", ".join(
        f"{method} from {measures.centre(runs[0]):.1f} to {measures.centre(runs[-1]):.1f}, "
        f"{sum(measures.compare(after, before)[0] > 0 for before, after in pairwise(runs))} of {len(runs) - 1} steps up"
        for method, runs in methods.items()
    )
    steps = [measures.compare(after, before, len(ours))[1] for before, after in pairwise(ours)]
    return Finding(said, False if False in steps else measures.compare(ours[-1], ours[0], len(ours))[1])


def is_above_lora(groups: Groups) -> Finding | None:
    """FourierFT beats LoRA wherever an n and an r have the same number of parameters."""
    sizes = {(method, measures.per_matrix(runs[0])): runs for (method, _), runs in groups.items()}
    shared = [count for method, count in sizes if method == "fourierft" and ("lora", count) in sizes]
    found = {n: measures.compare(sizes["fourierft", n], sizes["lora", n], len(shared)) for n in shared}
    said = ", ".join(f"{signed(gap)} points at {size:,.0f} parameters per matrix" for size, (gap, _) in found.items())
    return _all(f"FourierFT minus LoRA {said}", found)


def smallest_is_level(groups: Groups) -> Finding | None:
    """The smallest n is level with the smallest r, or above."""
    methods = _by_first(groups)
    if not {"fourierft", "lora"} <= methods.keys():
        return None
    (n, ours), (r, theirs) = (next(iter(methods[method].items())) for method in ("fourierft", "lora"))
    gap, level = measures.not_below(ours, theirs)
    times = measures.per_matrix(theirs[0]) / measures.per_matrix(ours[0])
    return Finding(f"n={n} minus LoRA r={r} {signed(gap)} points with {times:.0f} times fewer parameters", level)


# --- bias ------------------------------------------------------------------------------------------------------------


def most_bands_are_below(groups: Groups) -> Finding | None:
    """More than half of the favoured bands are below no bias; refuted if at least half are above."""

    def holds(above: Sequence[bool | None]) -> bool | None:
        return True if above.count(False) > len(above) / 2 else False if above.count(True) >= len(above) / 2 else None

    return _bands(groups, holds)


def one_band_is_above(groups: Groups) -> Finding | None:
    """Some favoured band is above no bias; refuted if all are below."""
    return _bands(groups, lambda above: True if True in above else None if None in above else False)


def _bands(groups: Groups, holds: Callable[[list[bool | None]], bool | None]) -> Finding | None:
    """Compare each band with no bias. holds: the answer, given whether each is above (True), below or neither."""
    bands = {band[0]: runs for band, runs in groups.items() if band}
    if not bands or () not in groups:
        return None
    found = {centre: measures.compare(runs, groups[()], len(bands)) for centre, runs in bands.items()}
    best = max(found, key=lambda centre: found[centre][0])
    below = sum(gap < 0 for gap, _ in found.values())
    said = f"{below} of {len(found)} bands below no bias; the best, centre {best:g}, {signed(found[best][0])} points"
    return Finding(said, holds([above for _, above in found.values()]))


# --- basis, initialisation, grid -------------------------------------------------------------------------------------


def fourier_beats_the_papers(groups: Groups) -> Finding | None:
    """Fourier is above each of the paper's other bases that was run."""
    return _beats(TRIED, groups)


def fourier_beats_the_others(groups: Groups) -> Finding | None:
    """Fourier is above each of the bases that were run and that the paper does not try."""
    return _beats([basis for basis in BASES[1:] if basis not in TRIED], groups)


def _beats(others: Sequence[str], groups: Groups) -> Finding | None:
    there = [basis for basis in others if (basis,) in groups] if ("fourier",) in groups else []
    found = {basis: measures.compare(groups["fourier",], groups[basis,], len(there)) for basis in there}
    return _all(f"Fourier {', '.join(f'{signed(gap)} to {basis}' for basis, (gap, _) in found.items())}", found)


def normal_beats_zeros(groups: Groups) -> Finding | None:
    """The paper's initialisation is above zeros."""
    if len(groups) < 2:
        return None
    gap, above = measures.compare(groups["normal",], groups["zeros",])
    return Finding(f"normal minus zeros {signed(gap)} points", above)


def grid_is_level(groups: Groups) -> Finding | None:
    """At every n the grid is level with random positions, or above."""
    kinds = _by_first(groups)
    grid, random = kinds.get("grid", {}), kinds.get("random", {})
    shared = [n for n in grid if n in random]
    found = {n: measures.not_below(grid[n], random[n], len(shared)) for n in shared}
    return _all(f"grid minus random {', '.join(f'{signed(gap)} at n={n}' for n, (gap, _) in found.items())}", found)


def _all(said: str, found: Mapping[object, tuple[float, bool | None]]) -> Finding | None:
    """Holds if every comparison does, fails if one fails; None without any comparison."""
    holds = {one for _, one in found.values()}
    return Finding(said, False if False in holds else None if None in holds else True) if found else None


# --- curves, luck ----------------------------------------------------------------------------------------------------


def is_better_throughout(groups: Groups) -> Finding | None:
    """FourierFT is better in at least nine of ten epochs, in score and (where measured) in training loss."""
    if not {("fourierft",), ("lora",)} <= groups.keys():
        return None
    said, shares = [], []
    for name, sign in ((groups.runs[0].metrics.primary, 1), ("train_loss", -1)):
        if name in measures.of_every_epoch(groups.runs):
            ours, theirs = (measures.by_epoch(groups[method,], name) for method in ("fourierft", "lora"))
            gaps = [statistics.median(ours[epoch]) - statistics.median(theirs[epoch]) for epoch in ours.keys() & theirs]
            better = sum(sign * gap > 0 for gap in gaps)
            said.append(f"FourierFT's {name} better in {better} of {len(gaps)} epochs")
            shares.append(better / len(gaps))
    return Finding(", ".join(said), min(shares) >= 0.9)


def positions_matter_less(groups: Groups) -> Finding | None:
    """Scores spread less over positions than over seeds of training, by Levene's test of equal spreads."""
    from scipy.stats import levene  # a second to import

    found = {what: measures.scores(groups.get((what,), ())) for what in (POSITIONS, TRAINING)}
    if min(map(len, found.values())) < 2:
        return None
    deviations = {what: statistics.stdev(values) for what, values in found.items()}
    p = float(levene(*found.values()).pvalue)
    counted = {what: f"{deviations[what]:.2f} points over {len(values)} runs" for what, values in found.items()}
    said = f"deviation {counted[POSITIONS]} where the {POSITIONS}, {counted[TRAINING]} where {TRAINING}"
    less = deviations[POSITIONS] < deviations[TRAINING] if p < measures.LEVEL else None
    return Finding(f"{said} (Levene's test: p = {p:.2f})", less)

"""The functions that answer the questions of the sweeps, each from the runs of one model and task."""

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from experiments.record import Record
from experiments.report.gaps import MARGIN, SIGNIFICANCE, Gap, Judged, difference, would_decide
from experiments.report.verdicts import CANNOT_TELL, LEVEL, Answer, weakest
from experiments.studies import measures
from experiments.studies.measures import Groups, Setting

POSITIONS, TRAINING = "positions vary", "training varies"
BASES = ("fourier", "dct", "hartley", "haar", "orthogonal", "random", "identity")
TRIED = ("random", "orthogonal")  # by the paper


@dataclass(frozen=True)
class Finding:
    """What was found for one model and task, in words, and whether the claim holds there.

    judged: the settings that the answer rests on; None: all of them. The others are told only.
    """

    said: str
    holds: Answer
    judged: Collection[Setting] | None = None


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
    said = [
        f"{method} from {measures.centre(runs[0]):.1f} to {measures.centre(runs[-1]):.1f}, "
        f"{sum(measures.gap(after, before).mean > 0 for before, after in pairwise(runs))} of {len(runs) - 1} steps up"
        for method, runs in methods.items()
    ]
    steps = [groups.compare(after, before, len(ours)).answer for before, after in pairwise(ours)]
    whole = groups.compare(ours[-1], ours[0], len(ours))
    said.append(f"the largest n minus the smallest {whole.said}")
    judged = [setting for setting in groups if setting[0] == "fourierft"]
    return Finding("; ".join(said), False if False in steps else whole.answer, judged)


def is_above_lora(groups: Groups) -> Finding | None:
    """FourierFT beats LoRA wherever an n and an r have the same number of parameters."""
    sizes = {(setting[0], measures.per_matrix(runs[0])): setting for setting, runs in groups.items()}
    shared = [count for method, count in sizes if method == "fourierft" and ("lora", count) in sizes]
    pairs = {n: (sizes["fourierft", n], sizes["lora", n]) for n in shared}
    found = {
        f"at {n:,.0f} parameters per matrix": groups.compare(groups[ours], groups[theirs], len(pairs))
        for n, (ours, theirs) in pairs.items()
    }
    return all_of("FourierFT minus LoRA", found, [*chain(*pairs.values())])


def smallest_is_level(groups: Groups) -> Finding | None:
    """The smallest n is level with the smallest r, or above."""
    methods = _by_first(groups)
    if not {"fourierft", "lora"} <= methods.keys():
        return None
    (n, ours), (r, theirs) = (next(iter(methods[method].items())) for method in ("fourierft", "lora"))
    found = groups.not_worse(ours, theirs)
    times = measures.per_matrix(theirs[0]) / measures.per_matrix(ours[0])
    said = f"n={n}, {times:.0f} times fewer parameters, minus LoRA r={r} {found.said}"
    return Finding(said, found.answer, [("fourierft", n), ("lora", r)])


# --- bias ------------------------------------------------------------------------------------------------------------


def most_bands_are_below(groups: Groups) -> Finding | None:
    """More than half of the favoured bands are below no bias; refuted if at least half are above."""

    def holds(answers: Sequence[Answer]) -> Answer:
        half, above = len(answers) / 2, answers.count(True)
        if answers.count(False) > half:
            return True
        return False if above >= half else LEVEL if above + answers.count(LEVEL) >= half else None

    return _bands(groups, holds)


def one_band_is_above(groups: Groups) -> Finding | None:
    """Some favoured band is above no bias; refuted if all are below."""
    return _bands(groups, strongest)


def strongest(answers: Sequence[Answer]) -> Answer:
    return next((one for one in (True, None, LEVEL) if one in answers), False)


def _bands(groups: Groups, holds: Callable[[list[Answer]], Answer]) -> Finding | None:
    """Compare each band with no bias. holds: the answer, given that to whether each band is above no bias."""
    bands = {band[0]: runs for band, runs in groups.items() if band}
    if not bands or () not in groups:
        return None
    found = {centre: groups.compare(runs, groups[()], len(bands)) for centre, runs in bands.items()}
    said = "; ".join(f"centre {centre:g} {one.said}" for centre, one in found.items())
    return Finding(f"favoured bands minus no bias: {said}", holds([one.answer for one in found.values()]))


# --- basis, initialisation, grid -------------------------------------------------------------------------------------


def fourier_beats_the_papers(groups: Groups) -> Finding | None:
    """Fourier is above each of the paper's other bases that was run."""
    return _beats(TRIED, groups)


def fourier_beats_the_others(groups: Groups) -> Finding | None:
    """Fourier is above each of the bases that were run and that the paper does not try."""
    return _beats([basis for basis in BASES[1:] if basis not in TRIED], groups)


def _beats(others: Sequence[str], groups: Groups) -> Finding | None:
    there = [basis for basis in others if (basis,) in groups] if ("fourier",) in groups else []
    found = {basis: groups.compare(groups["fourier",], groups[basis,], len(there)) for basis in there}
    return all_of("Fourier minus", found, [("fourier",), *((basis,) for basis in there)])


def normal_beats_zeros(groups: Groups) -> Finding | None:
    """The paper's initialisation is above zeros."""
    if len(groups) < 2:
        return None
    return all_of("normal minus", {"zeros": groups.compare(groups["normal",], groups["zeros",])})


def grid_is_level(groups: Groups) -> Finding | None:
    """At every n the grid is level with random positions, or above."""
    kinds = _by_first(groups)
    grid, random = kinds.get("grid", {}), kinds.get("random", {})
    shared = [n for n in grid if n in random]
    found = {f"at n={n}": groups.not_worse(grid[n], random[n], len(shared)) for n in shared}
    return all_of("grid minus random", found, [(kind, n) for kind in ("grid", "random") for n in shared])


def all_of(said: str, found: Mapping[str, Judged], judged: Collection[Setting] | None = None) -> Finding | None:
    """The weakest of the comparisons, each told behind its name; None without any. judged: see `Finding`."""
    sentences = "; ".join(f"{name} {one.said}" for name, one in found.items())
    return Finding(f"{said} {sentences}", weakest(one.answer for one in found.values()), judged) if found else None


# --- curves, luck ----------------------------------------------------------------------------------------------------


def is_better_throughout(groups: Groups) -> Finding | None:
    """With as many parameters FourierFT is above in the mean over all epochs, in score and (where measured) in training
    loss, and ahead in at least nine of ten of them; refuted if it is below in either."""
    if _times_fewer(groups) != 1:
        return None
    signs = {groups.runs[0].metrics.primary: 1, "train_loss": -1}
    measured = [name for name in signs if name in measures.of_every_epoch(groups.runs)]
    said, answers = [], []
    for name in measured:
        both = [groups[method,] for method in ("fourierft", "lora")]
        courses = [measures.by_epoch(runs, name) for runs in both]
        epochs = courses[0].keys() & courses[1]
        medians = [[signs[name] * statistics.median(course[epoch]) for epoch in epochs] for course in courses]
        ahead = sum(ours > theirs for ours, theirs in zip(*medians, strict=True))
        means = [
            {run.seed: signs[name] * statistics.fmean(course[one][i] for one in epochs) for i, run in enumerate(runs)}
            for runs, course in zip(both, courses, strict=True)
        ]
        margin = MARGIN if signs[name] > 0 else MARGIN / 100 * abs(statistics.fmean(means[1].values()))
        judged = Gap.between(*means).judged(difference(len(measured) * groups.places, margin))
        said.append(f"FourierFT's {name} ahead by {judged.said}; by the medians in {ahead} of {len(epochs)} epochs")
        answers.append(None if judged.answer is True and ahead < 0.9 * len(epochs) else judged.answer)
    return Finding("; ".join(said), weakest(answers), [("fourierft",), ("lora",)])


def fewer_are_level(groups: Groups) -> Finding | None:
    """FourierFT with fewer parameters is level with LoRA at the best epoch, or above."""
    times = _times_fewer(groups)
    if times <= 1:
        return None
    found = groups.not_worse(groups["fourierft",], groups["lora",])
    return all_of("FourierFT,", {f"{times:.1f} times fewer parameters, minus LoRA": found})


def _times_fewer(groups: Groups) -> float:
    """How many times fewer parameters FourierFT has than LoRA; 0 without runs of both."""
    both = [groups.get((method,)) for method in ("fourierft", "lora")]
    ours, theirs = (measures.per_matrix(runs[0]) if runs else 0 for runs in both)
    return theirs / ours if ours else 0


def positions_matter_less(groups: Groups) -> Finding | None:
    """Scores spread less over positions than over seeds of training, by an F test of normal scores, two-sided."""
    from scipy.stats import f  # a second to import

    level = SIGNIFICANCE / groups.places
    found = {what: measures.scores(groups.get((what,), ())) for what in (POSITIONS, TRAINING)}
    if min(map(len, found.values())) < 2:
        return None
    positions, training = deviations = [statistics.stdev(values) for values in found.values()]
    if not training:
        return None  # no ratio
    ratio, freedom = positions / training, [len(values) - 1 for values in found.values()]
    low, high = (ratio / f.isf(tail, *freedom) ** 0.5 for tail in (level / 2, 1 - level / 2))
    less = True if high < 1 else False if low > 1 else None

    def chance(runs: int) -> float:
        """That so many runs of each decide, were the ratio the true one."""
        return f.cdf(f.ppf(level / 2, runs - 1, runs - 1) / min(ratio, 1 / ratio) ** 2, runs - 1, runs - 1)

    told = [f"{one:.2f} points over {len(values)} runs" for one, values in zip(deviations, found.values(), strict=True)]
    said = (
        f"deviation {told[0]} where the {POSITIONS}, {told[1]} where {TRAINING}; "
        f"ratio {ratio:.2f}, {100 - 100 * level:.3g} % interval {low:.2f} to {high:.2f}"
    )
    return Finding(said if less is not None else f"{said}: {CANNOT_TELL}, {would_decide(chance)}", less)

"""The record of a search for hyper-parameters: its points, which follow from the ranges and the scores before them.

The first points are of Sobol's sequence, scrambled, in the ranges. The ranges are where a search starts, not its
limits: while its best point lies at an edge, one key of it moves a step beyond the values tried so far (`steps`). A
point may be tried again, with the next seed; its score is the mean, so that no lucky trial decides (`repeats`).
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from experiments.record import Document, Matrices, compare
from experiments.typed import Share

SEED = 0  # of the sequence
STEP = 2.0  # a factor, up or down
EQUAL = 0.01  # of the highest score: trials are short, and cannot tell smaller differences apart
FAILED = -1.0  # the score, the lowest possible, of a trial that diverged or ran out of memory

Ranges = dict[str, list[float]]  # key -> [low, high]
Point = dict[str, float]  # key -> value; of a trial, its score too
End = Literal["highest", "lowest"]
Edges = dict[str, End]
SIGNS: dict[End, str] = {"highest": "↑", "lowest": "↓"}  # of a row with a rate there
LEGEND = {sign: f"the {end} rate that its search tried" for end, sign in SIGNS.items()}


class Trials(Document):
    """The record of a search: the point and the score of each trial, in their order, and the best point (`best`).

    scrambled: whether the points are of the scrambled sequence, see `sequence`. numbers: the place of each in it, None
    for a step beyond an edge and for a point that is tried again; without numbers they are the first of the sequence.
    matrices: those that the method adapts, by shape; None where it adapts none, and in older searches.
    """

    exp: str | None
    model: str
    method: str
    overrides: list[str]
    holdout: Share
    ranges: Annotated[
        dict[str, Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]], Field(min_length=1, max_length=99)
    ]
    scrambled: bool = False
    numbers: list[Annotated[NonNegativeInt, Field(lt=2**16)] | None] | None = None
    trials: Annotated[list[Point], Field(min_length=1)]
    best: Point
    matrices: list[Matrices] | None = None

    @property
    def place(self) -> str:
        """Without the first folder for older searches without an experiment."""
        return place(self.exp, self.model, self.method, self.overrides)

    @property
    def places(self) -> list[int | None]:
        """`numbers`, also of a search without them."""
        return list(range(len(self.trials))) if self.numbers is None else self.numbers

    @property
    def point(self) -> Point:
        """The best one, without its score."""
        return unscored(self.best)

    @property
    def edges(self) -> Edges:
        """Those of the best point, see `edges`."""
        return edges(self.point, self.trials)

    @property
    def experiment(self) -> str:
        """What was searched for; of older searches without an experiment, the task."""
        tasks = (override.removeprefix("task=") for override in self.overrides if override.startswith("task="))
        return self.exp or next(tasks, "")

    @model_validator(mode="after")
    def _follows_from_the_ranges(self) -> "Trials":
        for key, (low, high) in self.ranges.items():
            if not low < high:
                raise ValueError(f"ranges.{key} is {[low, high]}, no range: low < high")
        drawn = [number for number in self.places if number is not None]
        compare("the order of numbers", drawn, sorted(set(drawn)))
        compare("the number of numbers", len(self.places), len(self.trials))
        scores = [trial.get("score", math.inf) for trial in self.trials]
        if not all(FAILED <= score <= 1 for score in scores):
            raise ValueError("each of trials needs a score from -1 to 1")
        points = dict(zip(drawn, sequence(self.ranges, drawn, self.scrambled), strict=True))
        for count, (number, trial) in enumerate(zip(self.places, self.trials, strict=True)):
            before = self.trials[:count]
            beyond = [*steps(before), *steps(before, equal=0), *repeats(before)]  # equal=0: as once
            allowed = [points[number]] if number is not None else beyond
            if unscored(trial) not in allowed:
                raise ValueError(f"the points of trials: number {count} is {trial}, where the rest gives {allowed}")
        compare("best", self.best, best(self.trials))
        return self


def sequence(ranges: Ranges, numbers: Sequence[int], scrambled: bool = True) -> list[Point]:
    """The points with these numbers, from 0, log-uniform in the ranges, rounded to two significant digits.

    The sequence is Sobol's, scrambled (Matoušek 1998). Older searches have one random point and then the unscrambled
    sequence, which wastes its first trial on the low corner of the ranges.
    """
    from scipy.stats import qmc  # a second to import

    count, size = max(numbers, default=0) + 1, len(ranges)
    unit = qmc.Sobol(size, scramble=scrambled, seed=SEED).random_base2(count.bit_length())
    if not scrambled:
        unit = np.concatenate([np.random.RandomState(SEED).random_sample((1, size)), unit])
    low, high = np.array(list(ranges.values()), dtype=float).T
    points = np.exp(np.log(low) + unit[list(numbers)] * (np.log(high) - np.log(low)))
    rounded = np.vectorize(_rounded, otypes=[float])(points)
    return [dict(zip(ranges, point, strict=True)) for point in np.clip(rounded, low, high).tolist()]


def scores(point: Point, trials: Sequence[Point]) -> list[float]:
    """Those of this point, which has none, by its first and further seeds."""
    return [trial["score"] for trial in trials if unscored(trial) == point]


def averaged(trials: Sequence[Point]) -> list[Point]:
    """Each point once, in the order of its first trial, with the mean of its scores."""
    points = {tuple(point.items()): point for point in map(unscored, trials)}.values()
    return [{**point, "score": fmean(scores(point, trials))} for point in points]


def best(trials: Sequence[Point], equal: float = EQUAL) -> Point:
    """Of the points whose mean score is the highest up to a share of it, the one with the lowest rates.

    By the first key, then the next. The rule of one standard error (Breiman et al. 1984), with a fixed error: a rate
    that is too high can look as good in a short trial, and then a whole run learns nothing. It is the same for every
    method.
    """
    points = averaged(trials)
    highest = max(point["score"] for point in points)
    equals = [point for point in points if point["score"] >= highest - equal * abs(highest)]
    return min(equals, key=lambda point: (*unscored(point).values(), -point["score"]))


def edges(point: Point, tried: Sequence[Mapping[str, float]]) -> Edges:
    """The keys of a point whose value is the highest or the lowest that was tried. A key is inside once a higher and a
    lower value were tried."""
    found: Edges = {}
    for key, value in point.items():
        values = [one[key] for one in tried]
        if value == max(values):
            found[key] = "highest"
        elif value == min(values):
            found[key] = "lowest"
    return found


def steps(trials: Sequence[Point], equal: float = EQUAL) -> list[Point]:
    """The points beyond the edges: the best one with one key doubled or halved, rounded to two significant digits.

    In the order of the keys; the first with a valid configuration is tried next. Nothing if every trial failed.
    """
    if not trials or best(trials)["score"] == FAILED:
        return []
    point, factor = unscored(best(trials, equal)), {"highest": STEP, "lowest": 1 / STEP}
    return [point | {key: _rounded(point[key] * factor[end])} for key, end in edges(point, trials).items()]


def repeats(trials: Sequence[Point], seeds: float = math.inf) -> list[Point]:
    """The best point, to be tried again, until it has this many trials. Nothing if every trial failed."""
    if not trials or best(trials)["score"] == FAILED:
        return []
    point = unscored(best(trials))
    return [point] if len(scores(point, trials)) < seeds else []


def signs(found: Edges) -> str:
    """The marks of what lies at these edges, each once."""
    return "".join(sign for end, sign in SIGNS.items() if end in found.values())


def place(exp: str | None, model: str, method: str, overrides: Iterable[str]) -> str:
    """The file of a search, below a folder of searches."""
    return f"{f'{exp}/' if exp else ''}{model}/{label(method, overrides)}.json"


def label(method: str, overrides: Iterable[str]) -> str:
    """The method with its settings in the overrides, such as fourierft_n50; of a dictionary, its size."""
    plain = [override for override in overrides if override.startswith("method.") and "$" not in override]
    plain = [re.sub(r"\{.*\}", lambda found: str(found[0].count(":")), override) for override in plain]
    asked = [override.partition(".")[2].replace("=", "") for override in plain]
    return re.sub(r"[^\w.-]+", "_", "_".join([method, *asked]))


def unscored(trial: Point) -> Point:
    """The point of a trial."""
    return {key: value for key, value in trial.items() if key != "score"}


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")

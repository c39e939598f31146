"""A search over ranges of hyper-parameters: the same fixed points for every method, scored on training rows.

The points are Sobol's sequence, scrambled. Each trial is a run with `train.holdout`: it never sees the validation set,
and once it has its record it is not repeated.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator
from scipy.stats import qmc

from experiments import pipeline
from experiments.config import CONFIGS, INCIDENTAL, Config, load
from experiments.errors import UserError
from experiments.record import Document, check_writable, compare, read, write
from experiments.training import Diverged
from experiments.typed import Share
from experiments.yaml_files import read_yaml

SEED = 0  # of the sequence

Ranges = dict[str, list[float]]  # key -> [low, high]


class Trials(Document):
    """The record of a search: the point and the score of each trial, and the best trial, the first of equals.

    scrambled: whether the points are of the scrambled sequence, see `sequence`. numbers: their places in it; None for
    the first ones.
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
    numbers: list[Annotated[NonNegativeInt, Field(lt=2**16)]] | None = None
    trials: Annotated[list[dict[str, float]], Field(min_length=1)]
    best: dict[str, float]

    @property
    def place(self) -> str:
        """Without the first folder for older searches without an experiment."""
        return f"{f'{self.exp}/' if self.exp else ''}{self.model}/{_label(self.method, self.overrides)}.json"

    @model_validator(mode="after")
    def _follows_from_the_ranges(self) -> "Trials":
        for key, (low, high) in self.ranges.items():
            if not low < high:
                raise ValueError(f"ranges.{key} is {[low, high]}, no range: low < high")
        numbers = list(range(len(self.trials))) if self.numbers is None else self.numbers
        compare("the order of numbers", numbers, sorted(set(numbers)))
        points = [{key: value for key, value in trial.items() if key != "score"} for trial in self.trials]
        compare("the points of trials", points, sequence(self.ranges, numbers, self.scrambled))
        scores = [trial.get("score", math.inf) for trial in self.trials]
        if not all(-1 <= score <= 1 for score in scores):
            raise ValueError("each of trials needs a score from -1 to 1")
        compare("best", self.best, self.trials[scores.index(max(scores))])
        return self


@dataclass(frozen=True)
class Search:
    """The search for one method: what its scores depend on, and the file of its trials."""

    base: Config  # with all searched keys at the low ends of their ranges
    overrides: list[str]
    holdout: float
    ranges: Ranges
    path: Path
    numbers: Sequence[int]  # places of its trials in the sequence
    scrambled: bool = True

    def setting(self) -> dict[str, Any]:
        """What distinguishes this search from another with the same file."""
        asked = {"overrides": _lasting(self.overrides), "holdout": self.holdout, "ranges": self.ranges}
        return asked | {"scrambled": self.scrambled}


def sequence(ranges: Ranges, numbers: Sequence[int], scrambled: bool = True) -> list[dict[str, float]]:
    """The points with these numbers, from 0, log-uniform in the ranges, rounded to two significant digits.

    The sequence is Sobol's, scrambled (Matoušek 1998). Older searches have one random point and then the unscrambled
    sequence, which wastes its first trial on the low corner of the ranges.
    """
    count, size = max(numbers, default=0) + 1, len(ranges)
    unit = qmc.Sobol(size, scramble=scrambled, seed=SEED).random_base2(count.bit_length())
    if not scrambled:
        unit = np.concatenate([np.random.RandomState(SEED).random_sample((1, size)), unit])
    low, high = np.array(list(ranges.values()), dtype=float).T
    points = np.exp(np.log(low) + unit[list(numbers)] * (np.log(high) - np.log(low)))
    rounded = [[float(f"{value:.2g}") for value in point] for point in points]
    return [dict(zip(ranges, point, strict=True)) for point in np.clip(rounded, low, high).tolist()]


def prepare(
    overrides: list[str],
    trials: int,
    holdout: float,
    out: Path,
    given: Ranges,
    force: bool = False,
    alone: bool = False,
) -> Search:
    """The search that is asked for. Raises UserError: all that can be wrong with it, before its first trial.

    given: ranges that replace or add to those in configs/search; the only ones if `alone`.
    """
    if trials < 1:
        raise UserError(f"--trials {trials}: a search takes at least one")
    base = _configuration(overrides, holdout, {key: low for key, (low, _) in given.items()})
    ranges = {} if alone else read_ranges(base.method.name, required=not given)
    if not base.model.head:
        ranges.pop("recipe.head_lr", None)
    ranges |= given
    for end in (1, 0):  # the low ends last, for the base
        try:
            base = _configuration(overrides, holdout, {key: ends[end] for key, ends in ranges.items()})
        except UserError as error:
            where = f"the ranges of {base.method.name} ({ranges_file(base.method.name)}, --range)"
            raise UserError(f"{where}: {error}") from error
    path = out / str(base.exp or base.task.name) / base.model.name / f"{_label(base.method.name, overrides)}.json"
    search = Search(base, overrides, holdout, ranges, path, range(trials))
    if path.exists() and not force:
        search = _continued(search)
    check_writable(path.parent, "--out")
    return search


def run(search: Search) -> Trials:
    """Run the trials that have no record yet, and write the record of the search."""
    base, done = search.base, []
    for count, point in enumerate(sequence(search.ranges, search.numbers, search.scrambled), 1):
        score = _score(_configuration(search.overrides, search.holdout, point))
        print(f"{base.method.name}, trial {count} of {len(search.numbers)}: {point}, score {score:.4f}", flush=True)
        done.append({**point, "score": score})
    result = Trials(
        exp=base.exp or base.task.name,
        model=base.model.name,
        method=base.method.name,
        **search.setting(),
        numbers=list(search.numbers),
        trials=done,
        best=max(done, key=lambda trial: trial["score"]),
    )
    write(result, search.path)
    return result


def read_ranges(method: str, required: bool = True) -> Ranges:
    """The ranges of a method in configs/search. Raises UserError where they are wrong, or missing and required."""
    file = ranges_file(method)
    if not file.exists():
        if required:
            raise UserError(f"{file}: no ranges for method {method}; write that file, or give --range KEY=LOW:HIGH")
        return {}
    content = read_yaml(file)
    if not content:
        raise UserError(f"{file}: no ranges; want lines like recipe.lr: [0.0001, 0.01]")
    return {key: _checked(f"{file}: {key}", ends) for key, ends in content.items()}


def ranges_file(method: str) -> Path:
    """The file of the ranges of a method: its own, or default.yaml."""
    own = CONFIGS / "search" / f"{method}.yaml"
    return own if own.exists() else own.with_name("default.yaml")


def parse_range(text: str) -> tuple[str, list[float]]:
    """KEY=LOW:HIGH, as on the command line. Raises UserError."""
    key, _, ends = text.partition("=")
    try:
        values = [float(end) for end in ends.split(":")]
    except ValueError:
        values = ends
    return key, _checked(f"--range {key}", values)


def _configuration(overrides: list[str], holdout: float, point: dict[str, float]) -> Config:
    values = [f"{key}={value}" for key, value in point.items()]
    return load(*overrides, *values, f"train.holdout={holdout}")


def _score(config: Config) -> float:
    """The best epoch's score on the held-out rows; the lowest possible if the run diverges or runs out of memory."""
    try:
        return pipeline.run(config).metrics.best
    except (Diverged, torch.OutOfMemoryError):
        return -1.0


def _checked(where: str, ends: Any) -> list[float]:
    """`ends`, if they are [low, high]. Raises UserError that begins with `where`."""
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    if not numbers or not 0 < ends[0] < ends[1] < math.inf:
        raise UserError(f"{where}: {ends} is no range; want two numbers, 0 < low < high")
    return ends


def _label(method: str, overrides: list[str]) -> str:
    """The method with its settings in the overrides, such as fourierft_n50."""
    plain = [override for override in overrides if override.startswith("method.") and "$" not in override]
    asked = [override.partition(".")[2].replace("=", "") for override in plain]
    return re.sub(r"[^\w.-]+", "_", "_".join([method, *asked]))


def _lasting(overrides: list[str]) -> list[str]:
    """The overrides that a score may depend on."""
    incidental = re.compile(rf"[+~]*({'|'.join(map(re.escape, INCIDENTAL))})[.=]")
    return [override for override in overrides if not incidental.match(override)]


def _continued(search: Search) -> Search:
    """The search as a continuation of the one in its file. Raises UserError if trials in the file would be lost."""
    older, remedy = read(search.path, Trials), "name another --out, or replace it with --force"
    if (count := len(older.trials)) > (trials := len(search.numbers)):
        raise UserError(f"{search.path}: holds {count} trials, more than --trials {trials}; {remedy}")
    numbers = older.numbers or range(count)
    more = range(numbers[-1] + 1, numbers[-1] + 1 + trials - count)
    search = replace(search, scrambled=older.scrambled, numbers=[*numbers, *more])
    for key, value in search.setting().items():
        known = getattr(older, key)
        if key == "overrides":
            known, value = sorted(_lasting(known)), sorted(value)
        if known != value:
            raise UserError(f"{search.path}: holds a search with other {key}, {known}, not {value}; {remedy}")
    return search

"""A search for hyper-parameters: equal effort for every method, scored on training rows.

Its points follow from its ranges and its scores (`experiments/trials.py`). Each trial is a run with `train.holdout`: it
never sees the validation set, and once it has its record it is not repeated.
"""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from experiments import pipeline
from experiments.composing import composed
from experiments.config import INCIDENTAL, Config, load
from experiments.errors import Diverged, UserError
from experiments.recipes import CONFIGS
from experiments.record import Matrices, Record, check_writable, read, write
from experiments.trials import FAILED, Point, Ranges, Trials, best, place, repeats, scores, sequence, steps
from experiments.yaml_files import read_yaml


@dataclass(frozen=True)
class Search:
    """The search for one method: what its scores depend on, and the file of its trials.

    trials: those in the ranges. extra: at most so many more, beyond the edges and again. seeds: those that the best
    point has to have been tried with. older: the trials that the file has.
    """

    base: Config  # with all searched keys at the low ends of their ranges
    overrides: list[str]
    holdout: float
    ranges: Ranges
    path: Path
    trials: int
    extra: int
    seeds: int
    older: Trials | None = None

    def setting(self) -> dict[str, Any]:
        """What distinguishes this search from another with the same file."""
        return {"overrides": _lasting(self.overrides), "holdout": self.holdout, "ranges": self.ranges}


def prepare(
    overrides: list[str],
    trials: int,
    extra: int,
    holdout: float,
    out: Path,
    given: Ranges,
    force: bool = False,
    alone: bool = False,
    seeds: int = 1,
) -> Search:
    """The search that is asked for. Raises UserError: all that can be wrong with it, before its first trial.

    trials, extra, seeds: see `Search`. given: ranges that replace or add to those in configs/search; the only ones if
    `alone`.
    """
    if trials < 1 or extra < 0:
        raise UserError(f"--trials {trials} --extra {extra}: want at least one trial, and 0 or more beyond the edges")
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: want at least one seed of the best trial")
    asked = composed("config", *overrides)
    ranges = {} if alone else read_ranges(asked.method.name, required=not given)
    if not asked.model.head:
        ranges.pop("recipe.head_lr", None)
    ranges |= given
    for end in (1, 0):  # the low ends last, for the base
        try:
            base = _configuration(overrides, holdout, {key: ends[end] for key, ends in ranges.items()})
        except UserError as error:
            raise UserError(f"{error} (ranges: {ranges_file(asked.method.name)}, --range)") from error
    path = out / place(base.exp or base.task.name, base.model.name, base.method.name, overrides)
    search = Search(base, overrides, holdout, ranges, path, trials, extra, seeds)
    if path.exists() and not force:
        search = _continued(search)
    check_writable(path.parent, "--out")
    return search


def run(search: Search) -> Trials:
    """Run the trials that the search lacks, and write its record if there were any: first those in the ranges, then at
    most `extra` more, a step beyond it while the best one lies at an edge, or else the best one again."""
    older = search.older
    trials, numbers = (list(older.trials), list(older.places)) if older else ([], [])
    scrambled, adapted = (older.scrambled, older.matrices) if older else (True, None)

    def attempt(point: Point, number: int | None) -> None:
        nonlocal adapted
        config, again = _configuration(search.overrides, search.holdout, point), len(scores(point, trials))
        done = _attempt(config.model_copy(update={"seed": config.seed + again}))
        score = done.metrics.best if done else FAILED
        adapted = Matrices.of(one.shape for one in done.rank.matrices) if done and done.rank else adapted
        trials.append({**point, "score": score})
        numbers.append(number)
        why = "" if number is not None else ", again" if again else ", beyond the edge"
        print(f"{search.base.method.name}, trial {len(trials)}{why}: {point}, score {score:.4f}", flush=True)

    drawn = [number for number in numbers if number is not None]
    first = max(drawn, default=-1) + 1
    more = range(first, first + search.trials - len(drawn))
    for number, point in zip(more, sequence(search.ranges, more, scrambled), strict=True):
        attempt(point, number)
    while numbers.count(None) < search.extra and (point := _next(search, trials)):
        attempt(point, None)
    if older and len(trials) == len(older.trials):
        return older
    result = Trials(
        exp=search.base.exp or search.base.task.name,
        model=search.base.model.name,
        method=search.base.method.name,
        **search.setting(),
        scrambled=scrambled,
        numbers=numbers,
        trials=trials,
        best=best(trials),
        matrices=adapted,
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


def _configuration(overrides: list[str], holdout: float, point: Point) -> Config:
    values = [f"{key}={value}" for key, value in point.items()]
    return load(*overrides, *values, f"train.holdout={holdout}")


def _next(search: Search, trials: list[Point]) -> Point | None:
    """The next point beyond an edge, or else the best one, if its seeds are too few. A value that no run may have is a
    limit: that key stays at its edge."""
    for point in steps(trials):
        try:
            _configuration(search.overrides, search.holdout, point)
        except UserError as error:
            print(f"{search.base.method.name}, no step to {point}: {error}", flush=True)
        else:
            return point
    return next(iter(repeats(trials, search.seeds)), None)


def _attempt(config: Config) -> Record | None:
    """The record of a trial; None if it diverges or runs out of memory."""
    try:
        return pipeline.run(config)
    except (Diverged, torch.OutOfMemoryError):
        return None


def _checked(where: str, ends: Any) -> list[float]:
    """`ends`, if they are [low, high]. Raises UserError that begins with `where`."""
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    if not numbers or not 0 < ends[0] < ends[1] < math.inf:
        raise UserError(f"{where}: {ends} is no range; want two numbers, 0 < low < high")
    return ends


def _lasting(overrides: list[str]) -> list[str]:
    """The overrides that a score may depend on."""
    incidental = re.compile(rf"[+~]*({'|'.join(map(re.escape, INCIDENTAL))})[.=]")
    return [override for override in overrides if not incidental.match(override)]


def _continued(search: Search) -> Search:
    """The search as a continuation of the one in its file. Raises UserError if trials in the file would be lost."""
    older, remedy = read(search.path, Trials), "name another --out, or replace it with --force"
    drawn = sum(number is not None for number in older.places)
    if drawn > search.trials:
        raise UserError(f"{search.path}: holds {drawn} trials, more than --trials {search.trials}; {remedy}")
    for key, value in search.setting().items():
        known = getattr(older, key)
        if key == "overrides":
            known, value = sorted(_lasting(known)), sorted(value)
        if known != value:
            raise UserError(f"{search.path}: holds a search with other {key}, {known}, not {value}; {remedy}")
    return replace(search, older=older)

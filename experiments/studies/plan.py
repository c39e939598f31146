"""The runs of a study, as configs/study/<name>.yaml lists them: carried out one by one, what has its record not again.

A line of `runs` is a command line of run.py, values to sweep over separated by commas. Lines that differ in their seed
alone are one setting. Where the plan has a search, each setting gets its own, with the same number of trials on a slice
of the training rows (`experiments/search.py`), and its runs take the best point.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import torch
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from pydantic import Field, PositiveInt, ValidationError

from experiments import pipeline, search
from experiments.config import Config, parse
from experiments.errors import UserError
from experiments.record import ROOT, read, replace_file
from experiments.training import Diverged
from experiments.typed import Share, Typed
from experiments.yaml_files import read_yaml

Overrides = tuple[str, ...]


class SearchPlan(Typed):
    """How each setting finds its hyper-parameters: `trials` points of `ranges`, judged on the share `holdout`.

    overrides: what a trial has besides its setting, such as fewer epochs or rows.
    """

    trials: PositiveInt
    holdout: Share
    ranges: dict[str, dict[str, tuple[float, float]]]  # method -> key -> (low, high), log-uniform
    overrides: Overrides = ()


class Plan(Typed):
    """The runs of one study at one scale."""

    runs: Overrides = Field(min_length=1)
    search: SearchPlan | None = None


def read_plan(name: str, scale: str) -> Plan:
    """The plan of a study. Raises UserError where there is none of that scale, or a wrong key or value in it."""
    file = search.CONFIGS / "study" / f"{name}.yaml"
    scales = read_yaml(file)
    if scale not in scales:
        raise UserError(f"study {name} has no runs of scale {scale}: {file.name} lists {', '.join(map(str, scales))}")
    try:
        return Plan.model_validate(scales[scale])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (scale, *first["loc"])))
        raise UserError(f"{file}: {key}={first['input']!r}: {first['msg']}") from error


def settings(plan: Plan) -> dict[Overrides, list[str]]:
    """Each setting with its seeds, as overrides, in the order of the plan. Raises HydraException for a line that is no
    command line."""
    found: dict[Overrides, list[str]] = {}
    for line in plan.runs:
        for overrides in _expand(line):
            setting = tuple(override for override in overrides if not override.startswith("seed="))
            seeds = [override for override in overrides if override.startswith("seed=")]
            found.setdefault(setting, []).extend(seeds or ["seed=0"])
    return found


def carry_out(
    plan: Plan, folder: Path, more: Overrides = (), share: tuple[int, int] = (1, 1), scale: str = "auto"
) -> list[str]:
    """Run what the plan lists, the first seed of every setting before any second; returns the runs that diverged or ran
    out of memory, each with its error.

    Records go to folder/records, searches to folder/search. more: overrides of every run and trial, such as
    train.device. share: (k, m) takes every m-th setting from the k-th on, for several machines. Hydra has to be set up
    with the suite's configs. scale: of the runs, where any other is an error. What failed before is tried again. Raises
    what `pipeline.run` and `search.prepare` raise.
    """
    failed, points = [], {}
    mine = list(itertools.islice(settings(plan).items(), share[0] - 1, None, share[1]))
    for place in range(max((len(seeds) for _, seeds in mine), default=0)):
        for setting, seeds in mine:
            if place >= len(seeds):
                continue
            wanted = [*setting, *more, f"scale={scale}"]
            if plan.search and setting not in points:
                points[setting] = _search(plan.search, [*wanted, seeds[0]], folder / "search")
            chosen = [*wanted, *points.get(setting, ()), seeds[place], f"record.dir={folder / 'records'}"]
            config = parse(compose("config", chosen))
            if config.train.is_trial:
                raise UserError("train.max_steps, train.rows and train.holdout make a trial, whose record is none")
            _take_over(config)
            try:
                pipeline.run(config)
            except (Diverged, torch.OutOfMemoryError) as error:  # a result: its record says so
                failed.append(f"{config.name}: {error}")
    return failed


def _take_over(config: Config) -> None:
    """Copy the record of the same run, of clean code and as many trials, from the suite's or from another study's."""
    path, name = config.record_path, f"{config.name}.json"
    places = [ROOT / "results/records" / name, *sorted(config.record.dir.parent.parent.glob(f"*/records/{name}"))]
    for place in places if not path.exists() else ():
        if place.exists() and (older := read(place)).dirty is False and older.trials == config.recipe.trials:
            return replace_file(path, place.read_bytes())


def _search(plan: SearchPlan, setting: list[str], out: Path) -> list[str]:
    """The best point of a setting, as overrides."""
    method = compose("config", setting).method.name
    ranges = {key: list(ends) for key, ends in plan.ranges[method].items()}
    asked = search.prepare([*setting, *plan.overrides], plan.trials, plan.holdout, out, ranges, alone=True)
    older = read(asked.path, search.Trials) if asked.path.exists() else None  # of this very search
    found = older if older and len(older.trials) == plan.trials else search.run(asked)
    best = {key: value for key, value in found.best.items() if key != "score"}
    return [*(f"{key}={value}" for key, value in best.items()), f"recipe.trials={plan.trials}"]


def _expand(line: str) -> Iterator[Overrides]:
    """Every run of a line: the product over its swept values."""
    choices = []
    for override in OverridesParser.create().parse_overrides(line.split()):
        key, swept = override.get_key_element(), override.is_sweep_override()
        choices.append(
            [f"{key}={value}" for value in override.sweep_string_iterator()] if swept else [override.input_line]
        )
    return itertools.product(*choices)

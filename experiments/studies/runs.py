"""Carry out a plan, run by run; a run that has its record is not repeated.

If the plan has a search, each setting gets its own, with the same trials in the ranges and at most the same number
beyond them, on a slice of the training rows (`experiments/search.py`), and its runs use the best point.
"""

from pathlib import Path

import torch

from experiments import pipeline, search
from experiments.composing import composed
from experiments.config import Config, load
from experiments.errors import UserError
from experiments.record import ROOT, read, replace_file
from experiments.studies.plan import Overrides, RunPlan, SearchPlan
from experiments.training import Diverged


def carry_out(
    plan: RunPlan, folder: Path, more: Overrides = (), share: tuple[int, int] = (1, 1), scale: str = "auto"
) -> list[str]:
    """Run what the plan lists, the first seed of every setting before any second seed; returns the runs that diverged
    or ran out of memory, each with its error.

    Records go to folder/records, searches to folder/search. more: overrides for every run and trial, such as
    train.device. share: (k, m) takes every m-th setting, starting with the k-th, for several machines. scale: the only
    one that the runs may have. Failed runs are tried again. Raises what `pipeline.run` and
    `search.prepare` raise.
    """
    failed, points = [], {}
    mine = plan.part(share)
    for place in range(max((len(seeds) for _, seeds in mine), default=0)):
        for setting, seeds in mine:
            if place >= len(seeds):
                continue
            wanted = [*setting, *more, f"scale={scale}"]
            if plan.search and setting not in points:
                points[setting] = best_point(plan.search, [*wanted, seeds[0]], folder / "search")
            chosen = [*wanted, *points.get(setting, ()), seeds[place], f"record.dir={folder / 'records'}"]
            config = load(*chosen)
            if config.train.is_trial:
                raise UserError(
                    "train.max_steps, train.rows and train.holdout make a run a trial; a study takes none of them"
                )
            _take_over(config)
            try:
                pipeline.run(config)
            except (Diverged, torch.OutOfMemoryError) as error:  # a result: its record says so
                failed.append(f"{config.name}: {error}")
    return failed


def _take_over(config: Config) -> None:
    """Copy the record of the same run, of clean code with as many trials, from the suite's or another study's."""
    path, name = config.record_path, f"{config.name}.json"
    places = [ROOT / "results/records" / name, *sorted(config.record.dir.parent.parent.glob(f"*/records/{name}"))]
    for place in places if not path.exists() else ():
        if place.exists() and (older := read(place)).dirty is False and older.trials == config.recipe.trials:
            return replace_file(path, place.read_bytes())


def best_point(plan: SearchPlan, setting: list[str], out: Path) -> list[str]:
    """The best point of a setting, as overrides."""
    method = composed("config", *setting).method.name
    ranges = {key: list(ends) for key, ends in plan.ranges[method].items()}
    asked = search.prepare([*setting, *plan.overrides], plan.trials, plan.extra, plan.holdout, out, ranges, alone=True)
    found = search.run(asked)
    best = [f"{key}={value}" for key, value in found.point.items()]
    return [*best, f"recipe.trials={len(found.trials)}"]

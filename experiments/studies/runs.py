"""Carry out a plan, run by run; a run that has its record is not repeated.

If the plan has a search, each setting gets its own, with the same trials in the ranges and at most the same number
beyond them, on a slice of the training rows (`experiments/search.py`), and its runs use the best point.
"""

from functools import partial
from pathlib import Path

from experiments import pipeline, search, work
from experiments.composing import composed
from experiments.config import Config, load
from experiments.locks import Held
from experiments.record import ROOT, read, replace_file
from experiments.studies.plan import Overrides, RunPlan, SearchPlan
from experiments.work import Awaited, Ended, Task


def carry_out(
    plan: RunPlan, folder: Path, more: Overrides = (), share: tuple[int, int] = (1, 1), scale: str = "auto"
) -> Ended:
    """Run what the plan lists, the first seed of every setting before any second seed; how that ended.

    Records go to folder/records, searches to folder/search. more: overrides for every run and trial, such as
    train.device. share: (k, m) takes every m-th setting, starting with the k-th, for several machines. scale: the only
    one that the runs may have. Failed runs are tried again. Raises UserError for an override that no run may have.
    """
    mine = plan.part(share)
    for setting, seeds in mine[:1]:
        load(*setting, *more, f"scale={scale}", seeds[0]).refuse_trial("a study")
    points: dict[Overrides, list[str]] = {}

    def run(setting: Overrides, first: str, seed: str) -> None:
        wanted = [*setting, *more, f"scale={scale}"]
        if plan.search and setting not in points:
            points[setting] = best_point(plan.search, [*wanted, first], folder / "search")
        config = load(*wanted, *points.get(setting, ()), seed, f"record.dir={folder / 'records'}")
        _take_over(config)
        pipeline.run(config)

    tasks = [
        Task(" ".join([*setting, seeds[place]]), partial(run, setting, seeds[0], seeds[place]))
        for place in range(max((len(seeds) for _, seeds in mine), default=0))
        for setting, seeds in mine
        if place < len(seeds)
    ]
    return work.carry_out(tasks)


def _take_over(config: Config) -> None:
    """Copy the record of the same run, of clean code with as many trials, from the suite's or another study's."""
    path, name = config.record_path, f"{config.name}.json"
    places = [ROOT / "results/records" / name, *sorted(config.record.dir.parent.parent.glob(f"*/records/{name}"))]
    for place in places if not path.exists() else ():
        if place.exists() and (older := read(place)).dirty is False and older.trials == config.recipe.trials:
            return replace_file(path, place.read_bytes())


def best_point(plan: SearchPlan, setting: list[str], out: Path) -> list[str]:
    """The best point of a setting, as overrides; none where it states its rates.

    Raises Awaited where another process has a trial of its search.
    """
    ranges = plan.asked(composed("config", *setting).method.name, setting)
    if not ranges:
        return []
    effort = {"trials": plan.trials, "extra": plan.extra, "seeds": plan.seeds, "holdout": plan.holdout}
    asked = search.prepare([*setting, *plan.overrides], **effort, out=out, given=ranges, alone=True)
    try:
        found = search.run(asked)
    except Held as error:
        raise Awaited(str(error)) from error
    best = [f"{key}={value}" for key, value in found.point.items()]
    return [*best, f"recipe.trials={len(found.trials)}"]

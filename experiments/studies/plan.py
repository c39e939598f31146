"""A study as its file describes it, configs/study/<name>.yaml: texts, questions, and the runs of each scale.

A line of `runs` is a command line of run.py, with commas between the values of a sweep. Runs that differ only in their
seed have the same setting. `runs.py` carries a plan out.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError

from experiments.composing import expand, value
from experiments.errors import UserError
from experiments.record import ROOT
from experiments.typed import Share, Typed
from experiments.yaml_files import read_yaml

PLANS = ROOT / "configs" / "study"
Overrides = tuple[str, ...]


class SearchPlan(Typed):
    """The search for the hyper-parameters of each setting: `trials` points of `ranges`, judged on the share `holdout`,
    and at most `extra` more: beyond them while the best lies at an edge, or the best again, up to `seeds` seeds.

    overrides: those of a trial in addition to its setting, such as fewer epochs or rows. A setting may state a key of
    `ranges` itself, with recipe.trials; where it states all of them there is no search.
    """

    trials: PositiveInt
    extra: NonNegativeInt = 4
    seeds: PositiveInt = 1
    holdout: Share
    ranges: dict[str, dict[str, tuple[float, float]]]  # method -> key -> (low, high), log-uniform
    overrides: Overrides = ()

    def asked(self, method: str, setting: Iterable[str]) -> dict[str, list[float]]:
        """The ranges of the keys that a setting does not state."""
        stated = {override.partition("=")[0] for override in setting}
        return {key: list(ends) for key, ends in self.ranges[method].items() if key not in stated}


class RunPlan(Typed):
    """The runs of one study at one scale."""

    runs: Overrides = Field(min_length=1)
    search: SearchPlan | None = None

    @property
    def settings(self) -> dict[Overrides, list[str]]:
        """Setting -> seeds, both as overrides, in the order of the plan. Raises UserError for an invalid line."""
        found: dict[Overrides, list[str]] = {}
        for line in self.runs:
            for overrides in expand(line.split()):
                setting = tuple(override for override in overrides if not override.startswith("seed="))
                seeds = [override for override in overrides if override.startswith("seed=")]
                found.setdefault(setting, []).extend(seeds or ["seed=0"])
        return found

    def part(self, share: tuple[int, int]) -> list[tuple[Overrides, list[str]]]:
        """Every m-th of the settings, starting with the k-th, for share (k, m)."""
        return list(self.settings.items())[share[0] - 1 :: share[1]]

    @property
    def trials(self) -> tuple[int, int]:
        """How many trials its searches have, at least and at most."""
        search = self.search
        each = (search.trials, search.trials + search.extra) if search else (0, 0)
        return len(self.settings) * each[0], len(self.settings) * each[1]

    @property
    def places(self) -> dict[tuple[str, str], list["Planned"]]:
        """(model, task) -> its runs."""
        found: dict[tuple[str, str], list[Planned]] = {}
        for setting, seeds in self.settings.items():
            said = dict(override.split("=", 1) for override in setting)
            of_method = [override for override in setting if override.startswith("method.")]
            method = {one.partition("=")[0].removeprefix("method."): value(one) for one in of_method}
            name = said.get("method", "fourierft")  # the default of configs/config.yaml
            runs = [Planned(name, int(seed.removeprefix("seed=")), {"method": method}) for seed in seeds]
            found.setdefault((said["model"], said["task"]), []).extend(runs)
        return found


class StudyQuestion(Typed):
    """A claim or question that is tested on each model and task.

    ask: the name of the function that answers it, in questions.py or of the study. tasks: those that a verdict needs;
    by default all of the paper's plan. is_open: whether it is not a claim but a question that the paper leaves open.
    """

    name: str
    statement: str
    ask: str
    tasks: tuple[str, ...] = ()
    is_open: bool = False


class StudyFile(Typed):
    """The content of a study's file. labels: the headers of the columns that name a setting."""

    title: str
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    questions: tuple[StudyQuestion, ...]
    paper: RunPlan | None = None
    small: RunPlan | None = None
    mini: RunPlan | None = None

    def plan(self, name: str, scale: str) -> RunPlan:
        """The plan of one scale. Raises UserError where there is none."""
        if getattr(self, scale) is None:
            there = [scale for scale in ("paper", "small", "mini") if getattr(self, scale)]
            raise UserError(f"study {name} has no runs of scale {scale}: {name}.yaml lists {', '.join(there)}")
        return getattr(self, scale)


class Planned(NamedTuple):
    """One run of a plan, with the fields of a record that settings are made of."""

    method: str
    seed: int
    config: dict[str, Any]


def read_study(name: str) -> StudyFile:
    """Read the file of a study. Raises UserError for an invalid key or value: names it."""
    file = PLANS / f"{name}.yaml"
    try:
        return StudyFile.model_validate(read_yaml(file))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc']))}={first['input']!r}: {first['msg']}") from error

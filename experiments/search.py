"""A search over a recipe's ranges: the same fixed points for every method, judged on a slice of the training rows.

The points are a quasi-random sequence (Sobol, by Optuna); each trial is a run of the suite with `train.holdout`, which
never sees the validation set and leaves its record: it is not repeated. scripts/search.py is the command.
"""

import json
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError
from yaml import YAMLError

from experiments import pipeline
from experiments.config import CONFIGS, INCIDENTAL, Config, explain, parse
from experiments.errors import UserError
from experiments.record import check_writable, config_hash, replace_file
from experiments.training import Diverged

SEED = 0  # of the sequence of trials

Ranges = dict[str, list[float]]  # key -> [low, high]


@dataclass(frozen=True)
class Search:
    """One method's search: what determines its scores, and the file of its trials."""

    base: Config  # with every searched key at the low end of its range
    overrides: list[str]
    holdout: float
    ranges: Ranges
    path: Path

    def setting(self) -> dict[str, Any]:
        """What tells this search from another that would write the same file."""
        return {"overrides": _lasting(self.overrides), "holdout": self.holdout, "ranges": self.ranges}

    @property
    def name(self) -> str:
        """Of the study in a storage: another configuration or other ranges are another study."""
        digest = config_hash({"config": self.base.result_key(), "ranges": self.ranges})
        return f"{self.base.exp}/{self.base.model.name}/{self.base.method.name}-{digest}"


class Fixed(optuna.samplers.BaseSampler):
    """Trial k takes point k of `sequence`: the same for every process that shares a study and after every restart."""

    def __init__(self, ranges: Ranges):
        self.ranges = ranges

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, param_name, param_distribution):
        return sequence(self.ranges, trial.number + 1)[-1][param_name]


def sequence(ranges: Ranges, count: int) -> list[dict[str, float]]:
    """The first `count` points of the search, log-uniform, to two significant digits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=optuna.samplers.QMCSampler(seed=SEED))
    points = []
    for _ in range(count):
        trial = study.ask(_distributions(ranges))
        study.tell(trial, 0.0)
        points.append(
            {key: min(max(float(f"{trial.params[key]:.2g}"), low), high) for key, (low, high) in ranges.items()}
        )
    return points


def prepare(
    overrides: list[str],
    trials: int,
    holdout: float,
    out: Path,
    given: Ranges,
    force: bool = False,
    alone: bool = False,
) -> Search:
    """Everything that can be wrong with a search is found here, before its first trial. Raises UserError.

    given: ranges that change or add to those of configs/search, or, `alone`, take their place.
    """
    if trials < 1:
        raise UserError(f"--trials {trials}: a search takes at least one")
    base = _configuration(overrides, holdout, {key: low for key, (low, _) in given.items()})
    ranges = {} if alone else read_ranges(base.method.name, required=not given)
    if not base.model.head:
        ranges.pop("recipe.head_lr", None)
    ranges |= given
    for end in (1, 0):  # the low end last: it is the base
        try:
            base = _configuration(overrides, holdout, {key: ends[end] for key, ends in ranges.items()})
        except (UserError, HydraException) as error:
            where = f"the ranges of {base.method.name} (configs/search/{base.method.name}.yaml, --range)"
            raise UserError(f"{where}: {explain(error)}") from error
    path = out / str(base.exp or base.task.name) / base.model.name / f"{_label(base.method.name, overrides)}.json"
    search = Search(base, overrides, holdout, ranges, path)
    if not force:
        _check_older(search, trials)
    check_writable(path.parent, "--out")
    return search


def run(search: Search, trials: int, storage: str | None = None) -> dict[str, Any]:
    """Bring a search to `trials` trials; returns what is written. Raises UserError for a storage that does not open."""
    base = search.base
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            storage=storage,
            sampler=Fixed(search.ranges),
            study_name=search.name,
            direction="maximize",
            load_if_exists=True,
        )
        for key, value in search.setting().items():
            study.set_user_attr(key, value)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--storage {storage}: {reason}; a file in a folder that exists is sqlite:///FILE") from error

    def objective(trial: optuna.Trial) -> float:
        point = {key: trial.suggest_float(key, *ends, log=True) for key, ends in search.ranges.items()}
        score = _score(_configuration(search.overrides, search.holdout, point))
        print(f"{base.method.name}, trial {trial.number + 1} of {trials}: {point}, score {score:.4f}", flush=True)
        return score

    while len(finished := study.get_trials(states=[TrialState.COMPLETE])) < trials:
        study.optimize(objective, n_trials=1)
    done = [{**trial.params, "score": trial.value} for trial in finished[:trials]]
    result = {
        "exp": base.exp,
        "model": base.model.name,
        "method": base.method.name,
        **search.setting(),
        "trials": done,
        "best": max(done, key=lambda trial: trial["score"]),
    }
    replace_file(search.path, (json.dumps(result, indent=2) + "\n").encode())
    return result


def read_ranges(method: str, required: bool = True) -> Ranges:
    """The ranges of configs/search/<method>.yaml. Raises UserError where they are wrong, or missing and required."""
    file = CONFIGS / "search" / f"{method}.yaml"
    if not file.exists():
        if required:
            raise UserError(f"{file}: no ranges for method {method}; write that file, or give --range KEY=LOW:HIGH")
        return {}
    try:
        content = OmegaConf.to_container(OmegaConf.load(file))
    except (OSError, YAMLError) as error:
        raise UserError(f"{file}: no YAML ({' '.join(str(error).split())}); write it as its neighbours are") from error
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file}: no ranges; want lines like recipe.lr: [0.0001, 0.01]")
    return {key: _checked(f"{file}: {key}", ends) for key, ends in content.items()}


def parse_range(text: str) -> tuple[str, list[float]]:
    """KEY=LOW:HIGH, as on the command line. Raises UserError."""
    key, _, ends = text.partition("=")
    try:
        values = [float(end) for end in ends.split(":")]
    except ValueError:
        values = ends
    return key, _checked(f"--range {key}", values)


def _distributions(ranges: Ranges) -> dict[str, optuna.distributions.FloatDistribution]:
    return {key: optuna.distributions.FloatDistribution(*ends, log=True) for key, ends in ranges.items()}


def _configuration(overrides: list[str], holdout: float, point: dict[str, float]) -> Config:
    values = [f"{key}={value}" for key, value in point.items()]
    return parse(compose("config", [*overrides, *values, f"train.holdout={holdout}"]))


def _score(config: Config) -> float:
    """The best epoch's score on the held-out training rows; the worst there is where a run diverges or does not fit."""
    try:
        return pipeline.run(config).metrics.best
    except (Diverged, torch.OutOfMemoryError):
        return -1.0


def _checked(where: str, ends: Any) -> list[float]:
    """`ends` if they are [low, high]. Raises UserError that begins with `where`."""
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    if not numbers or not 0 < ends[0] < ends[1] < math.inf:
        raise UserError(f"{where}: {ends} is no range; want two numbers, 0 < low < high")
    return ends


def _label(method: str, overrides: list[str]) -> str:
    """The method with the settings of it that were asked for: fourierft_n50."""
    plain = [override for override in overrides if override.startswith("method.") and "$" not in override]
    asked = [override.partition(".")[2].replace("=", "") for override in plain]
    return re.sub(r"[^\w.-]+", "_", "_".join([method, *asked]))


def _lasting(overrides: list[str]) -> list[str]:
    """Those that a score may depend on."""
    incidental = re.compile(rf"[+~]*({'|'.join(map(re.escape, INCIDENTAL))})[.=]")
    return [override for override in overrides if not incidental.match(override)]


def _check_older(search: Search, trials: int) -> None:
    """Raises UserError where writing the file would lose the trials of another search, or some of this one's."""
    path, remedy = search.path, "name another --out, or replace it with --force"
    if not path.exists():
        return
    try:
        older = json.loads(path.read_text())
        known = {**older, "overrides": sorted(_lasting(older["overrides"]))}
        count = len(older["trials"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: holds no search ({error!r}); {remedy}") from error
    wanted = {**search.setting(), "overrides": sorted(search.setting()["overrides"])}
    for key, value in wanted.items():
        if known.get(key) != value:
            raise UserError(f"{path}: holds a search with other {key}, {known.get(key)}, not {value}; {remedy}")
    if count > trials:
        raise UserError(f"{path}: holds {count} trials, more than --trials {trials}; {remedy}")

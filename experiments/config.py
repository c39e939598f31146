"""The typed configuration: what Hydra composes from configs/ becomes a `Config`, or one clear error."""

import difflib
import functools
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from pydantic import NonNegativeInt, ValidationError

from experiments.data.assets import Assets, Model
from experiments.errors import UserError
from experiments.methods import AnyMethod
from experiments.recipes import CONFIGS
from experiments.record import config_hash
from experiments.settings import Recipe, RecordFolder, Tracking, Train
from experiments.tasks import AnyTask
from experiments.typed import Typed, UserPath
from experiments.yaml_files import read_yaml
from fourierft import FourierError


def _cell(key: str, *, _root_: DictConfig) -> Any:
    """`${cell:lr}`: the value of `lr` in the task's row of the recipe's table `cells`; None where there is none."""
    return OmegaConf.select(_root_, f"cells.{_root_.task.name}.{key}")


OmegaConf.register_new_resolver("cell", _cell, replace=True)
# `${per_root:3e6,${method.n}}`: a scale that becomes smaller as n grows, so that a step moves a matrix as far.
OmegaConf.register_new_resolver("per_root", lambda number, n: number / math.sqrt(n), replace=True)


def after_slash(repository: str) -> str:
    """The folder of a repository's model under <assets.root>/models."""
    return repository.rpartition("/")[2]


def as_name(folder: str) -> str:
    """The name in records of a model in that folder, which may be anywhere."""
    return re.sub(r"\W", "_", Path(folder).name if Path(folder).is_absolute() else folder).lower()


def as_set(data: str) -> str:
    """The name in records of data of one's own: that of the file or folder, or of the set on the hub."""
    return as_name(re.sub(r"\.(csv|tsv|jsonl?|parquet)$", "", Path(data).name))


for resolver in (after_slash, as_name, as_set):  # None stays None
    OmegaConf.register_new_resolver(resolver.__name__, lambda text, of=resolver: text and of(text), replace=True)


# Errors that a command prints as one message, by `explain`, and that end it with exit code 2.
TOLD = (UserError, FourierError, HydraException, OmegaConfBaseException)

# Keys on which no result depends: runs that differ in them alone are the same run.
INCIDENTAL = ("force", "tracking", "assets", "record", "runs", "scale", "recipe.source", "recipe.trials")
INCIDENTAL += tuple(f"train.{key}" for key in ("resume", "keep_checkpoints", "log_every", "workers", "eval_batch_size"))


class Config(Typed):
    """One run. `method` and `task` are the objects that do the work; the rest are facts and settings."""

    exp: str | None
    seed: NonNegativeInt
    scale: Literal["auto", "paper", "small", "mini"]
    force: bool
    task: AnyTask
    model: Model
    method: AnyMethod
    recipe: Recipe
    train: Train
    tracking: Tracking
    assets: Assets
    record: RecordFolder
    runs: UserPath

    def result_key(self) -> dict[str, Any]:
        """The part of the configuration that determines the result: what its hash and its record hold."""
        settings = self.model_dump(mode="json")
        for key in ("exp", *INCIDENTAL):
            part, _, name = key.rpartition(".")
            del (settings[part] if part else settings)[name]
        return settings

    def differences(self, other: "Config") -> dict[str, tuple[Any, Any]]:
        """The dotted keys of `result_key()` in which two runs differ, sorted, with both values; None for a missing
        key."""
        ours, theirs = (dict(_flat(each.result_key())) for each in (self, other))
        pairs = {key: (ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs.keys())}
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def hash(self) -> str:
        """Twelve hex digits over `result_key()`."""
        return config_hash(self.result_key())

    @property
    def record_path(self) -> Path:
        """The path of the run's record; a trial's stays with its files."""
        return (self.runs if self.train.is_trial else self.record.dir) / f"{self.name}.json"

    @property
    def name(self) -> Path:
        """Its path below a folder of runs or records: <exp>/<model>/<method>/seed<seed>-<hash>."""
        return Path(self.exp or self.task.name) / self.model.name / self.method.name / f"seed{self.seed}-{self.hash}"


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dictionaries, with dotted keys."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def parse(composed: DictConfig) -> Config:
    """Check a composed configuration. Raises UserError: every wrong key with its value and what is allowed."""
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        del values["cells"]  # its row for the task has been interpolated
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        direct = isinstance(error, MissingMandatoryValue)  # else full_key is where the value is used
        key = error.full_key if direct else str(error).partition("Missing mandatory value: ")[2].split()[0]
        raise UserError(f"{key} has no value: give it, {key}=...") from error
    try:
        config = Config.model_validate(values)
        return config.model_copy(update={"model": _known(config.model)})
    except ValidationError as error:
        raise UserError("\n".join(_describe(item, values) for item in error.errors())) from error


def load(*overrides: str) -> Config:
    """The run that these overrides, as run.py takes them, ask for. Raises UserError: what is wrong, what is allowed."""
    with _explained():
        return parse(composed("config", *overrides))


def suite(*overrides: str) -> DictConfig:
    """What the suite's own files compose, without the user's configs/local. Raises UserError."""
    own = ["local=none"] if (CONFIGS / "local").is_dir() else []
    return composed("config", *own, *overrides)


def composed(name: str, *overrides: str) -> DictConfig:
    """What Hydra composes of configs/<name>.yaml, or in the folder that Hydra is set up with. Raises UserError."""
    up = GlobalHydra.instance().is_initialized()
    with _explained(), nullcontext() if up else initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, [*overrides])


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of Hydra and OmegaConf become a UserError."""
    try:
        with legible():
            yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


def _known(model: Model) -> Model:
    """The model under its own name. With another repository or folder than in configs/model/<name>.yaml it is another
    model, with its own folder and name, and not of the paper's scale."""
    own, name, hub, local = _configured(model.name), model.name, model.hub, model.local
    same = own is not None and local == own.local and hub in (None, own.hub)
    if own and not same:
        if hub not in (None, own.hub) and local in (own.local, after_slash(hub)):
            local = after_slash(hub)
            local = hub if local == own.local or _configured(as_name(local)) else local
        name = as_name(local)
    scale = "small" if model.scale == "paper" and not (same and own.scale == "paper") else model.scale
    return model.model_copy(update={"name": name, "local": local, "scale": scale})


@functools.cache
def _configured(name: str) -> Model | None:
    """The model of configs/model/<name>.yaml; None where there is no such file."""
    if not (CONFIGS / "model" / f"{name}.yaml").is_file():
        return None
    return Model.model_validate(OmegaConf.to_container(suite("task=glue_rte", f"model={name}").model, resolve=True))


def _describe(item: dict[str, Any], values: dict[str, Any]) -> str:
    """One line for one of pydantic's errors in `values`, in the words of a config key."""
    path = [str(part) for part in item["loc"]]
    if len(path) > 2 and path[1] not in values[path[0]]:
        del path[1]  # the tag that pydantic puts behind a union: method.fourierft.n is the key method.n
    if len(path) > 2 and not isinstance(values[path[0]].get(path[1]), dict | list):
        del path[2:]  # the type, of several that are allowed: a line for each
    key, value = ".".join(path), item["input"]
    if item["type"] == "extra_forbidden":
        group = values
        for name in path[:-1]:
            group = group[name]
        return _unknown_key(key, group)
    if item["type"] == "union_tag_invalid":
        tag = item["ctx"]["discriminator"].strip("'")
        return f"{key}.{tag}={value[tag]}: unknown; choose one of {item['ctx']['expected_tags']}"
    if value is None:
        return f"{key} has no value: give it, {key}=..., or add it to the recipe for this task"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}={value}: {message[0].lower()}{message[1:]}"


@contextmanager
def legible() -> Iterator[None]:
    """A context for composing a configuration. An error without a message, or of a class that neither the suite nor
    Hydra raises, is explained by a file below configs/ that is not valid YAML, if there is one: raises UserError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError | FourierError | HydraException) and str(error):
            raise
        for path in sorted(CONFIGS.rglob("*.yaml")):
            read_yaml(path)
        raise


def explain(error: Exception) -> str:
    """One message with what is wrong and what is allowed, for an error of the suite, of Hydra or of OmegaConf."""
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return _unknown_key(cause.full_key, cause.parent_node or ())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.partition("/")
        if not error.options:
            return f"there is no configs/{error.missing_cfg_file}.yaml: write it, or choose another {group}"
        near = difflib.get_close_matches(option, error.options, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{group}={option}: unknown; {hint}choose one of {', '.join(error.options)}"
    if isinstance(error, ConfigCompositionException) and "You must specify" in str(error):
        return "no experiment chosen: give one of configs/exp/, such as python run.py +exp=glue_rte"
    return str(error) or type(error).__name__


def _unknown_key(key: str, group: Iterable[str]) -> str:
    """The message for an unknown key: the nearest and all keys of its group."""
    above, _, name = key.rpartition(".")
    allowed = sorted({str(other) for other in group} - {name, "cells"})
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f"did you mean {above}{above and '.'}{near[0]}? " if near else ""
    return f"{key}: no such key; {hint}{above or 'the configuration'} has {', '.join(allowed)}"

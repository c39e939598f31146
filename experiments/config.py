"""The typed configuration: what Hydra composes from configs/ becomes a `Config`, or one clear error."""

import difflib
import functools
import re
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

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
from pydantic import BaseModel, NonNegativeInt, ValidationError

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
    """`${cell:lr}`: what the recipe's table `cells` says of `lr` in the row of the task; None where it says nothing."""
    return OmegaConf.select(_root_, f"cells.{_root_.task.name}.{key}")


OmegaConf.register_new_resolver("cell", _cell, replace=True)


def after_slash(repository: str) -> str:
    """The folder of a repository's model under <assets.root>/models."""
    return repository.rpartition("/")[2]


def as_name(folder: str) -> str:
    """What a model in that folder is called in records."""
    return re.sub(r"\W", "_", folder).lower()


for resolver in (after_slash, as_name):  # of what has no value there is none
    OmegaConf.register_new_resolver(resolver.__name__, lambda text, of=resolver: text and of(text), replace=True)


# The errors that a command says in one message, with `explain`, and ends with exit code 2.
TOLD = (UserError, FourierError, HydraException, OmegaConfBaseException)

# What may differ between runs that are the same: no result depends on it.
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
        """The keys of `result_key()` in which two runs differ, dotted and sorted, with both values; None where one has
        no such key."""
        ours, theirs = (dict(_flat(each.result_key())) for each in (self, other))
        pairs = {key: (ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs.keys())}
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def hash(self) -> str:
        """Twelve hex digits over `result_key()`."""
        return config_hash(self.result_key())

    @property
    def record_path(self) -> Path:
        """Where the run's record goes; that of a trial stays with its files."""
        return (self.runs if self.train.is_trial else self.record.dir) / f"{self.name}.json"

    @property
    def name(self) -> Path:
        """Where the run stands below a folder of runs or records: <exp>/<model>/<method>/seed<seed>-<hash>."""
        return Path(self.exp or self.task.name) / self.model.name / self.method.name / f"seed{self.seed}-{self.hash}"


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dictionaries, under dotted keys."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def parse(composed: DictConfig) -> Config:
    """Check a composed configuration. Raises UserError: every wrong key with its value and what is allowed."""
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        del values["cells"]  # a table, of which the task's row is now in place
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        direct = isinstance(error, MissingMandatoryValue)  # else full_key is where the value is used
        key = error.full_key if direct else str(error).partition("Missing mandatory value: ")[2].split()[0]
        raise UserError(f"{key} has no value: give it, {key}=...") from error
    try:
        config = Config.model_validate(values)
        return config.model_copy(update={"model": _known(config.model)})
    except ValidationError as error:
        raise UserError("\n".join(_describe(item) for item in error.errors())) from error


def load(*overrides: str) -> Config:
    """The run that these overrides, as run.py takes them, ask for. Raises UserError: what is wrong, what is allowed."""
    try:
        with legible():
            return parse(composed("config", *overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


def suite(*overrides: str) -> DictConfig:
    """What the suite's own files compose, without the user's configs/local. Raises HydraException."""
    own = ["local=none"] if (CONFIGS / "local").is_dir() else []
    return composed("config", *own, *overrides)


def composed(name: str, *overrides: str) -> DictConfig:
    """What Hydra composes of configs/<name>.yaml, or of the folder that Hydra is set up with. Raises HydraException."""
    up = GlobalHydra.instance().is_initialized()
    with nullcontext() if up else initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, [*overrides])


def _known(model: Model) -> Model:
    """The model by its own name: another repository or folder than that of configs/model/<name>.yaml is another model,
    with its own folder and name, and none of the paper's."""
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


def _describe(item: dict[str, Any]) -> str:
    """One line for one of pydantic's errors, in the words of a config key."""
    path = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        return _unknown_key(_without_tags(path))
    key, value = ".".join(_without_tags(path)), item["input"]
    if item["type"] == "union_tag_invalid":
        tag = item["ctx"]["discriminator"].strip("'")
        return f"{key}.{tag}={value[tag]}: there is none of that name; choose one of {item['ctx']['expected_tags']}"
    if value is None:
        return f"{key} has no value: give it, {key}=..., or add it to the recipe for this task"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}={value}: {message[0].lower()}{message[1:]}"


def _without_tags(path: list[str]) -> list[str]:
    """Drop the tag that pydantic puts behind a union: method.fourierft.n is the key method.n."""
    tagged = len(path) > 2 and path[1] not in _keys(Config, path[:1])
    return [path[0], *path[2:]] if tagged else path


@contextmanager
def legible() -> Iterator[None]:
    """While a configuration is composed: an error that says nothing, or is neither ours nor Hydra's, comes of a file
    below configs/ that is no YAML, if there is one. Raises UserError, which names it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError | FourierError | HydraException) and str(error):
            raise
        for path in sorted(CONFIGS.rglob("*.yaml")):
            read_yaml(path)
        raise


def explain(error: Exception) -> str:
    """What is wrong and what is allowed, in one message, for an error of ours, of Hydra's or of OmegaConf's."""
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return _unknown_key(cause.full_key.split("."))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.partition("/")
        if not error.options:
            return f"there is no configs/{error.missing_cfg_file}.yaml: write it, or choose another {group}"
        near = difflib.get_close_matches(option, error.options, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{group}={option}: there is none of that name; {hint}choose one of {', '.join(error.options)}"
    if isinstance(error, ConfigCompositionException) and "You must specify" in str(error):
        return "no experiment chosen: give one of configs/exp/, such as python run.py +exp=glue_rte"
    return str(error) or type(error).__name__


def _unknown_key(path: list[str]) -> str:
    """The message for a key that the schema does not have, with the nearest that it has."""
    allowed = sorted(_keys(Config, path[:-1]))
    near = difflib.get_close_matches(path[-1], allowed, n=1)
    where = ".".join(path[:-1]) or "the configuration"
    hint = f"did you mean {'.'.join([*path[:-1], near[0]])}? " if near else ""
    return f"{'.'.join(path)}: no such key; {hint}{where} has {', '.join(allowed)}"


def _keys(kind: Any, path: list[str]) -> set[str]:
    """The keys below `path`, over every member of a union."""
    while typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return set().union(*(_keys(member, path) for member in typing.get_args(kind)))
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return set()
    if not path:
        return set(kind.model_fields)
    field = kind.model_fields.get(path[0])
    return _keys(field.annotation, path[1:]) if field else set()

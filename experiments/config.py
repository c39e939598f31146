"""The typed configuration: what Hydra composes from configs/ becomes a `Config`, or one clear error."""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue
from pydantic import NonNegativeInt, ValidationError

from experiments.composing import after_slash, as_name, composed, suite, unknown_key
from experiments.data.assets import Assets, Model
from experiments.errors import UserError
from experiments.methods import AnyMethod
from experiments.recipes import CONFIGS
from experiments.record import config_hash
from experiments.settings import Recipe, RecordFolder, Tracking, Train
from experiments.tasks import AnyTask
from experiments.typed import Typed, UserPath

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

    def refuse_trial(self, whole: str) -> None:
        """Raises UserError where the run is a trial. whole: what takes none."""
        if self.train.is_trial:
            raise UserError(
                f"train.max_steps, train.rows and train.holdout make a run a trial; {whole} takes none of them"
            )

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
        cells = values.pop("cells")  # the row for the task has been interpolated
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        direct = isinstance(error, MissingMandatoryValue)  # else full_key is where the value is used
        key = error.full_key if direct else str(error).partition("Missing mandatory value: ")[2].split()[0]
        raise UserError(f"{key} has no value: give it, {key}=...") from error
    _check_kind(values, cells)
    try:
        config = Config.model_validate(values)
        return config.model_copy(update={"model": _known(config.model)})
    except ValidationError as error:
        raise UserError(_described(error, values)) from error


def load(*overrides: str) -> Config:
    """The run that these overrides, as run.py takes them, ask for. Raises UserError: what is wrong, what is allowed."""
    return parse(composed("config", *overrides))


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


def _check_kind(values: dict[str, Any], cells: Iterable[str]) -> None:
    """Raises UserError for the page of another task, in whose column of a table the run would be, and for a task of
    images on a model of text, or the reverse. cells: the tasks in the recipe's table, if it has one: they tell what the
    model reads."""
    exp, task, model = values["exp"], values["task"].get("name"), values["model"].get("name")
    if exp not in (None, task) and (CONFIGS / "task" / f"{exp}.yaml").is_file():
        raise UserError(f"exp={exp}: not the page of {task}, whose runs have exp={task}: choose one or the other")
    if not cells or task in cells:
        return
    families = str(values["task"].get("family")), _family(min(cells))
    own, theirs = ("images" if "images" in family else "text" for family in families)
    if own != theirs:
        raise UserError(
            f"{task} is a task of {own}, and {model} a model of {theirs}: choose another model, or a task that "
            f"its recipe is for, {', '.join(cells)}"
        )


@functools.cache
def _family(task: str) -> str:
    """The family of the task of configs/task/<task>.yaml."""
    return suite(f"task={task}", "model=roberta_mini").task.family


def _described(error: ValidationError, values: dict[str, Any]) -> str:
    """A line for each of pydantic's errors in `values`, in the words of a config key."""
    items = error.errors()
    extra = {item["loc"][-1] for item in items if item["type"] == "extra_forbidden"}
    return "\n".join(_line(item, values, extra) for item in items)


def _line(item: dict[str, Any], values: dict[str, Any], extra: set[str]) -> str:
    """The line of one error. extra: the unknown keys."""
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
        return unknown_key(key, group, extra)
    if item["type"] == "union_tag_invalid":
        tag = item["ctx"]["discriminator"].strip("'")
        return f"{key}.{tag}={value[tag]}: unknown; choose one of {item['ctx']['expected_tags']}"
    if value is None:
        return f"{key} has no value: give it, {key}=..., or add it to the recipe for this task"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}={value}: {message[0].lower()}{message[1:]}"

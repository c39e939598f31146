"""What Hydra composes of configs/, and what is wrong where it cannot, told in one message: the key, what is allowed."""

import copy
import difflib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from experiments.errors import UserError
from experiments.interrupts import held_back
from experiments.recipes import CONFIGS, methods_with_recipe
from experiments.yaml_files import read_yaml


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


def written(overrides: Iterable[str]) -> list[str]:
    """Overrides as Hydra reads them: exp=NAME, which chooses a file as task=NAME does, with the plus that it needs.

    Raises UserError for a word that is no KEY=VALUE.
    """
    words = list(overrides)
    for at, word in enumerate(words):
        if "=" in word or word.startswith("~"):
            continue
        if (CONFIGS / "exp" / f"{word.lstrip('+')}.yaml").is_file():
            raise UserError(f"{word}: no KEY=VALUE; did you mean exp={word.lstrip('+')}?")
        if not at:
            raise UserError(f"{word}: no KEY=VALUE, as seed=0 is")
        key, _, first = words[at - 1].partition("=")
        values = [first, *itertools.takewhile(lambda word: "=" not in word, words[at:])]
        joined = ",".join(value.strip(",") for value in values)
        raise UserError(
            f"{word}: no KEY=VALUE; if it is a value of {key}, separate values by commas, with -m for a run each: "
            f"-m {key}={joined}"
        )
    return [f"+{word}" if word.startswith("exp=") else word for word in words]


def expand(overrides: Iterable[str]) -> list[list[str]]:
    """The overrides of each run, the product over swept values (a,b,c), in order. Raises UserError."""
    with _explained():
        parsed = OverridesParser.create().parse_overrides(written(overrides))
        each = [
            [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
            if override.is_sweep_override()
            else [override.input_line]
            for override in parsed
        ]
    return [list(run) for run in itertools.product(*each)]


@cache
def value(override: str) -> Any:
    """What an override sets, such as {"query": 128} of method.n_pattern={query:128}. Raises UserError."""
    with _explained():
        return _parsed(override).value()


def composed(name: str, *overrides: str) -> DictConfig:
    """What Hydra composes of configs/<name>.yaml, or in the folder that Hydra is set up with. Raises UserError."""
    up = GlobalHydra.instance().is_initialized()
    with _explained(), nullcontext() if up else initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return _composed(name, written(overrides))


def _composed(name: str, words: list[str]) -> DictConfig:
    """hydra.compose(name, words), in a tenth of its time where the same files were chosen before: what words set is set
    afterwards, as Hydra does. Errors are Hydra's, of all words together."""
    path = str(GlobalHydra.instance().config_loader().get_search_path())
    try:
        choices = [word for word in words if _is_choice(word, path)]
        setting = [_parsed(word) for word in words if word not in choices]
        if all(_sets(one) for one in setting):
            config = copy.deepcopy(_of_files(name, tuple(choices), path))
            for one in setting:
                OmegaConf.update(config, one.key_or_group, one.value(), merge=True)
            return config
    except (HydraException, OmegaConfBaseException):
        pass
    return compose(name, words)


@cache
def _parsed(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


@cache
def _is_choice(word: str, path: str) -> bool:
    """Whether an override chooses a file, and sets no values, {}. path: where Hydra looks for files."""
    one, loader = _parsed(word), GlobalHydra.instance().config_loader()
    group, value = one.key_or_group, one.value()
    there = loader.get_group_options(group, results_filter=None)  # files, or folders alone, as in recipe/
    if there and (value is None or isinstance(value, bool | int | float)) and not one.is_delete():
        raise UserError(f"{word}: no name of a file; choose one of {', '.join(there)}")
    return bool(there) and not isinstance(value, dict)


def _sets(one: Override) -> bool:
    """Whether it gives a key that is there one value."""
    return one.type is OverrideType.CHANGE and not one.package and not one.is_sweep_override()


@cache
def _of_files(name: str, words: tuple[str, ...], path: str) -> DictConfig:
    """What the choice of files makes, each read once."""
    return compose(name, list(words))


def suite(*overrides: str) -> DictConfig:
    """What the suite's own files compose, without the user's configs/local. Raises UserError."""
    own = ["local=none"] if (CONFIGS / "local").is_dir() else []
    return composed("config", *own, *overrides)


def shown(*overrides: str, resolve: bool) -> str:
    """A run's configuration as YAML; resolve: with the values that it refers to. Raises UserError."""
    with _explained():
        return OmegaConf.to_yaml(composed("config", *overrides), resolve=resolve)


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of Hydra and OmegaConf become a UserError; signals act at the end of the context."""
    try:
        with held_back(), legible():
            yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


@contextmanager
def legible() -> Iterator[None]:
    """A context for composing a configuration. An error without a message, or of a class that neither the suite nor
    Hydra raises, is explained by a file below configs/ that is not valid YAML, if there is one: raises UserError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError | HydraException) and str(error):
            raise
        for path in sorted(CONFIGS.rglob("*.yaml")):
            read_yaml(path)
        raise


def explain(error: Exception) -> str:
    """One message with what is wrong and what is allowed, for an error of the suite, of Hydra or of OmegaConf."""
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return unknown_key(cause.full_key, cause.parent_node or {})
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.partition("/")
        model, _, method = option.partition("/")
        if group == "recipe" and (others := methods_with_recipe(model)):
            return (
                f"there is no recipe of {method} for {model}: choose a method that has one, {', '.join(others)}, or "
                f"write configs/recipe/{option}.yaml"
            )
        if not error.options:
            return f"there is no configs/{error.missing_cfg_file}.yaml: write it, or choose another {group}"
        near = difflib.get_close_matches(option, error.options, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{group}={option}: unknown; {hint}choose one of {', '.join(error.options)}"
    if isinstance(error, ConfigCompositionException) and "You must specify" in str(error):
        return "no experiment chosen: give one of configs/exp/, such as python run.py +exp=glue_rte"
    return str(error) or type(error).__name__


def unknown_key(key: str, group: Mapping[str, Any], extra: Iterable[str] = ()) -> str:
    """The message for an unknown key: the nearest and all keys of its group. extra: keys in the group that are unknown
    too."""
    above, _, name = key.rpartition(".")
    allowed = sorted({str(other) for other in group} - {name, "cells", "hydra", *extra})
    owner = above or "the configuration"
    if above == "method":
        owner = f"method={group['name']}"
        allowed.remove("name")
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f"did you mean {above}{above and '.'}{near[0]}? " if near else ""
    return f"{key}: no such key; {hint}{owner} has {', '.join(allowed)}"

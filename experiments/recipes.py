"""Which file of configs/recipe is that of a model and a method."""

import functools
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.record import ROOT
from experiments.yaml_files import read_yaml

CONFIGS = ROOT / "configs"


def recipe_of(model: str, method: str, configs: Path = CONFIGS) -> str:
    """<model>/<method>, or <other>/<method> where that is no file and configs/same_recipes.yaml names another model.

    Raises UserError for a damaged table.
    """
    own = f"{model}/{method}"
    return own if (configs / "recipe" / f"{own}.yaml").is_file() else f"{_other(model, configs)}/{method}"


def methods_with_recipe(model: str, configs: Path = CONFIGS) -> list[str]:
    """The methods with a recipe for a model, its own or another's, sorted. Raises UserError as `recipe_of` does."""
    folders = [configs / "recipe" / name for name in (model, _other(model, configs))]
    named = {path.stem for folder in folders for path in folder.glob("*.yaml")}
    return sorted(named & {path.stem for path in (configs / "method").glob("*.yaml")})


@functools.cache
def recipes_of(model: str, configs: Path = CONFIGS) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every recipe of a model, its own or another's: <folder>/<file> -> its method, and its keys with those of the
    recipes that it builds on. A method's own comes before its variants, such as fourierft_all. Raises UserError."""
    methods = {path.stem for path in (CONFIGS / "method").glob("*.yaml")}
    found = {}
    for folder in (_other(model, configs), model):
        for path in (configs / "recipe" / folder).glob("*.yaml"):
            of = [method for method in methods if f"{path.stem}_".startswith(f"{method}_")]
            found[path.stem] = (max(of, key=len), f"{folder}/{path.stem}") if of else None
    named = sorted((method, name) for method, name in filter(None, found.values()))
    return {name: (method, _keys(configs, f"recipe/{name}")) for method, name in named}


def _keys(configs: Path, name: str) -> dict[str, Any]:
    """The keys of a recipe, over those of the recipes that it builds on."""
    own = read_yaml(configs / f"{name}.yaml")
    said: dict[str, Any] = {}
    for base in own.get("defaults", []):
        said |= {} if base == "_self_" else _keys(configs, base.removeprefix("/"))
    return said | own


def _other(model: str, configs: Path) -> str:
    """The model whose recipes this one takes where it has none of its own."""
    table = configs / "same_recipes.yaml"
    return read_yaml(table).get(model, model) if table.is_file() else model


OmegaConf.register_new_resolver("recipe_of", recipe_of, replace=True)  # for the list of defaults in configs/config.yaml

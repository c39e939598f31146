"""Which file of configs/recipe is that of a model and a method."""

from pathlib import Path

from omegaconf import OmegaConf

from experiments.record import ROOT
from experiments.yaml_files import read_yaml

CONFIGS = ROOT / "configs"


def recipe_of(model: str, method: str, configs: Path = CONFIGS) -> str:
    """<model>/<method>, or <other>/<method> where that is no file and configs/same_recipes.yaml names another model.

    Raises UserError for a damaged table.
    """
    own, table = f"{model}/{method}", configs / "same_recipes.yaml"
    if (configs / "recipe" / f"{own}.yaml").is_file() or not table.is_file():
        return own
    return f"{read_yaml(table).get(model, model)}/{method}"


OmegaConf.register_new_resolver("recipe_of", recipe_of, replace=True)  # for the list of defaults in configs/config.yaml

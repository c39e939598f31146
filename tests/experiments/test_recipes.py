"""The file of a recipe: a model's own, or that of the model that a table names."""

import pytest

from experiments.errors import UserError
from experiments.recipes import CONFIGS, recipe_of
from experiments.yaml_files import read_yaml

SAME = read_yaml(CONFIGS / "same_recipes.yaml")


@pytest.mark.parametrize("model", SAME)
def test_every_model_of_the_table_takes_recipes_that_exist_of_another(model):
    names = {file.stem for file in (CONFIGS / "recipe" / SAME[model]).glob("*.yaml")}
    methods = names & {file.stem for file in (CONFIGS / "method").glob("*.yaml")}
    taken = {recipe_of(model, method) for method in methods}
    assert (CONFIGS / "model" / f"{model}.yaml").is_file() and SAME[model] not in SAME
    assert any(name.startswith(f"{SAME[model]}/") for name in taken), "else the line is of no use"
    assert all((CONFIGS / "recipe" / f"{name}.yaml").is_file() for name in taken)


def test_an_own_file_comes_first_and_without_a_line_there_is_no_other():
    assert recipe_of("roberta_large", "lora") == "roberta_large/lora"
    assert recipe_of("roberta_large", "vera") == "roberta_base/vera"
    assert recipe_of("vit_base", "vera") == "vit_base/vera"


def test_a_damaged_table_is_named_and_none_is_needed(tmp_path):
    assert recipe_of("a", "lora", tmp_path) == "a/lora"
    (tmp_path / "same_recipes.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"same_recipes\.yaml"):
        recipe_of("a", "lora", tmp_path)

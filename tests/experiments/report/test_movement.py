"""How far the published recipes move a model, against the theory's numbers and the library's own layers."""

import statistics
from collections import OrderedDict

import peft
import pytest
import torch
from torch import nn

import fourierft
from experiments.errors import UserError
from experiments.models.architectures import ARCHITECTURES
from experiments.report.movement import movement, one_scale, page, published
from tests.handmade import PRINTED

# (model, the beginning of the source, n) -> movement × lr: the geometric mean over tasks.
EXPECTED = {
    ("roberta_base", "paper", 1000): 0.61,  # 1.05 without QNLI
    ("roberta_base", "official", 1000): 0.91,
    ("roberta_large", "paper", 1000): 0.88,
    ("roberta_large", "official", 1000): 0.86,
    ("gpt2_medium", "paper", 1000): 0.91,
    ("gpt2_large", "paper", 1000): 2.22,
    ("llama1_7b", "paper", 1000): 0.393,
    ("llama1_7b", "official", 1000): 1.31,
    ("llama1_13b", "paper", 1000): 0.352,
    ("llama1_13b", "official", 1000): 1.17,
    ("llama2_7b", "paper", 1000): 0.393,
    ("llama2_7b", "official", 1000): 0.655,
    ("llama2_13b", "paper", 1000): 0.352,
    ("llama2_13b", "official", 1000): 0.586,
    ("vit_base", "paper", 3000): 20.1,  # 22.2 at lr 0.3, 14.8 at 0.2
    ("vit_large", "paper", 3000): 21.3,
    ("llama32_3b", "PEFT's", 1000): 0.00231,
    ("llama32_3b", "PEFT's", 5000): 0.00517,
    ("llama32_3b", "waveft", 5000): 1.32,
}


def step(config):
    """How far a step at the recipe's rate moves the model."""
    return movement(config) * config.recipe.lr


def test_every_published_recipe_moves_its_model_as_the_theory_says():
    found = {}
    for runs in published(PRINTED):
        method = runs[0].method
        n = method.n if method.name == "fourierft" else method.settings["n_frequency"]
        source = runs[0].recipe.source.split()[0].strip(",") if method.name == "fourierft" else method.name
        found[runs[0].model.name, source, n] = statistics.geometric_mean(map(step, runs))
    assert found == pytest.approx(EXPECTED, rel=6e-3)


def test_one_rate_lowers_roberta_base_as_printed():
    printed = published(PRINTED)[0]
    assert [run.task.name for run in printed if step(run) < 0.5] == ["glue_qnli"]
    assert statistics.geometric_mean(step(run) for run in printed if run.task.name != "glue_qnli") > 1


@pytest.mark.parametrize(
    "overrides",
    [
        ("+exp=glue_rte", "model=roberta_base"),
        ("+exp=e2e_gpt2_medium", "model=gpt2_medium"),  # parts of a fused projection
        ("+exp=vit_cars", "model=vit_base", "recipe=vit_base/fourierft_rule", "method.n=10000"),
        ("+exp=metamath", "model=llama32_3b"),  # two shapes
        ("+exp=metamath", "model=llama32_3b", "method.targets=all-linear"),  # four
        ("+exp=glue_rte", "model=roberta_base", "method.scale=auto", "method.targets=all-linear"),
    ],
    ids=lambda overrides: " ".join(overrides[1:]),
)
def test_it_is_the_movement_of_the_layers_that_a_run_has(make, overrides):
    config = make(*overrides)
    number = config.method.model_copy(update={"scale": one_scale(config)})
    for method in (config.method, number):
        with torch.device("meta"):
            model = method.adapt(ARCHITECTURES[config.model.name].build(), config.model.attention, config.model.head)
        layers = list(fourierft.fourier_layers(model).values())
        assert fourierft.movement(layers) == pytest.approx(movement(config))


@pytest.mark.parametrize(
    ("overrides", "moved"),
    [
        (["+exp=metamath", "model=llama32_3b"], (0.9, 0.9)),
        (["+exp=metamath", "model=llama32_3b", "recipe=llama32_3b/fourierft_scaled"], (0.9, 0.9)),
        (["+exp=metamath", "model=llama32_3b", "method.scale=auto"], (1.0704, 0.4823)),
        (["+exp=vit_cifar", "model=vit_base", "recipe=vit_base/fourierft_rule"], (0.6072, 0.2715)),
        (["+exp=vit_cifar", "model=vit_large", "recipe=vit_base/fourierft_rule"], (0.7011, 0.3135)),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_the_derived_recipes_move_their_models_as_they_say(make, overrides, moved):
    """At n=1000 and 5000; by the rule 12 lr, times the root of the mean of d / 3n, where that is below 1."""
    assert [step(make(*overrides, f"method.n={n}")) for n in (1000, 5000)] == pytest.approx(moved, rel=2e-3)


def test_a_model_of_unknown_shapes_needs_a_number(make):
    overrides = (
        "+exp=metamath",
        "model=causal_lm",
        "model.hub=a/b",
        "recipe=llama32_3b/fourierft",
        "method.scale=auto",
    )
    with pytest.raises(UserError, match="scale=auto: the shapes of b are not known here; give the scale"):
        one_scale(make(*overrides))
    assert one_scale(make(*overrides, "method.scale=20")) == 20


def test_the_page_has_every_recipe_and_the_rate_that_the_rule_would_take():
    text = page(PRINTED).texts["movement.md"]
    recipes, tasks = (part.splitlines() for part in text.partition("## Task by task")[::2])
    assert sum(line.startswith("| ") for line in recipes) == 2 + len(EXPECTED)
    assert sum(line.startswith("| ") for line in tasks) == 2 + 4 * 6 + 2 * 8
    line = next(line for line in recipes if line.startswith("| gpt2_medium"))
    assert line.endswith("| 300 | 0.02 | 45.4 | 0.91 | 0.13 |")


def test_waveft_has_an_orthonormal_basis():
    layer = nn.Sequential(OrderedDict(q=nn.Linear(48, 16)))
    names = {"target_modules": ["q"], "init_weights": False, "random_loc_seed": 777}
    wave = peft.get_peft_model(layer, peft.WaveFTConfig(n_frequency=100, scaling=25.0, **names)).base_model.model.q
    delta, coefficients = wave.get_delta_weight("default"), wave.waveft_spectrum["default"]
    assert delta.norm().item() == pytest.approx(25 * coefficients.norm().item())

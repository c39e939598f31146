"""Query, value and head of a model, found by the names of its layers."""

import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    TimmWrapperConfig,
)

from experiments.errors import UserError
from experiments.models import attention, heads

TEXTS = {
    "bert": (("query", "value"), ("classifier", "pooler")),
    "roberta": (("query", "value"), ("classifier",)),
    "deberta": (("in_proj",), ("pooler", "classifier")),
    "deberta-v2": (("query_proj", "value_proj"), ("pooler", "classifier")),
    "distilbert": (("q_lin", "v_lin"), ("pre_classifier", "classifier")),
    "electra": (("query", "value"), ("classifier",)),
    "mpnet": (("q", "v"), ("classifier",)),
    "modernbert": (("Wqkv:q,v",), ("head", "classifier")),
    "qwen2": (("q_proj", "v_proj"), ("score",)),
}
IMAGES = {
    "vit": (("q_proj", "v_proj"), ("classifier",)),
    "dinov2": (("q_proj", "v_proj"), ("classifier",)),
    "swin": (("q_proj", "v_proj"), ("classifier",)),
}
TIMM = {
    "vit_tiny_patch16_224": (("qkv:q,v",), ("head",)),
    "swin_tiny_patch4_window7_224": (("qkv:q,v",), ("fc",)),
}
LANGUAGE = {
    "llama": ("q_proj", "v_proj"),
    "gpt2": ("c_attn:q,v",),
    "phi3": ("qkv_proj:q,v",),
    "gpt_neox": ("query_key_value",),
}


def on_meta(auto: type, config) -> nn.Module:
    with torch.device("meta"):
        return auto.from_config(config)


@pytest.mark.parametrize("kind", [*TEXTS, *IMAGES])
def test_query_value_and_head_are_found(kind):
    auto, known = (
        (AutoModelForSequenceClassification, TEXTS) if kind in TEXTS else (AutoModelForImageClassification, IMAGES)
    )
    check(on_meta(auto, AutoConfig.for_model(kind)), *known[kind])


@pytest.mark.parametrize("name", TIMM)
def test_they_are_found_in_a_model_of_timm(name):
    check(on_meta(AutoModelForImageClassification, TimmWrapperConfig(architecture=name, num_labels=3)), *TIMM[name])


def check(model: nn.Module, layers: tuple[str, ...], head: tuple[str, ...]) -> None:
    assert heads.found(model, "auto") == head
    assert attention.found(model, "auto", head) == layers


@pytest.mark.parametrize("kind", LANGUAGE)
def test_a_language_model_has_no_head_unless_one_is_named(kind):
    model = on_meta(AutoModelForCausalLM, AutoConfig.for_model(kind, num_hidden_layers=2))
    assert attention.found(model, "auto") == LANGUAGE[kind]
    assert heads.found(model, ()) == ()


def test_names_that_are_given_stay():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    assert attention.found(model, ("b",)) == ("b",)
    assert heads.found(model, ("b",)) == ("b",)


def test_where_no_name_tells_the_linear_layers_are_listed():
    model = on_meta(AutoModelForImageClassification, AutoConfig.for_model("convnext"))
    with pytest.raises(UserError, match=r"ConvNextFor.*model\.attention=\[.*pwconv1 \(18\), pwconv2 \(18\)"):
        attention.found(model, "auto", heads.found(model, "auto"))

"""Counts at full size against published ones and against peft's own; the files that `make parameters` measures."""

import dataclasses

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from experiments.methods.trained import count, stored
from experiments.models.architectures import ARCHITECTURES, Architecture, gpt2, roberta
from experiments.models.heads import is_head
from experiments.parameters import materialise, matrices, method, size

HEAD = {"roberta_base": 592_130, "roberta_large": 1_051_650}  # of two classes
ENCODER = ("query", "value"), ("classifier",)
# Two layers of width 64 and an inner width of 256.
SMALL_ENCODER = Architecture(roberta(64, 2, vocab_size=50), AutoModelForSequenceClassification, *ENCODER)
SMALL_GPT2 = Architecture(gpt2(64, 2, vocab_size=50), AutoModelForCausalLM, ("c_attn:q,v",))


# --- the models ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("roberta_base", 124_645_632 - (768 * 768 + 768)),  # the published encoder has a pooler
        ("roberta_large", 355_359_744 - (1024 * 1024 + 1024)),
        ("gpt2_medium", 354_823_168),
        ("gpt2_large", 774_030_080),
        ("llama1_7b", 6_738_415_616),
        ("llama1_13b", 13_015_864_320),
        ("llama2_7b", 6_738_415_616),
        ("llama2_13b", 13_015_864_320),
        ("vit_base", 85_798_656),
        ("vit_large", 303_301_632),
    ],
)
def test_the_architectures_have_the_published_sizes_head_apart(name, total):
    architecture = ARCHITECTURES[name]
    parameters = architecture.build().named_parameters()
    assert sum(p.numel() for name, p in parameters if not is_head(name, architecture.head)) == total


@pytest.mark.parametrize(
    ("name", "d", "number"),  # d and L of Table 1
    [
        ("roberta_base", 768, 24),
        ("roberta_large", 1024, 48),
        ("gpt2_medium", 1024, 48),
        ("gpt2_large", 1280, 72),
        ("llama2_7b", 4096, 64),
        ("llama2_13b", 5120, 80),
        ("vit_base", 768, 24),
        ("vit_large", 1024, 48),
    ],
)
def test_the_adapted_matrices_are_those_of_table_1(name, d, number):
    (group,) = matrices(ARCHITECTURES[name])
    assert (group.shape, group.count) == ([d, d], number)


# --- against others' counts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["roberta_base", "roberta_large", "vit_base", "llama2_7b"])
@pytest.mark.parametrize("kind", ["lora", "fourierft"])
def test_lora_and_fourierft_count_what_peft_counts(name, kind):
    architecture = ARCHITECTURES[name]
    names = {"target_modules": list(architecture.attention), "modules_to_save": list(architecture.head)}
    theirs = {"lora": peft.LoraConfig(r=8, **names), "fourierft": peft.FourierFTConfig(n_frequency=1000, **names)}[kind]
    with torch.device("meta"):
        trainable, _ = peft.get_peft_model(architecture.build(), theirs).get_nb_trainable_parameters()
        ours = method(kind, {"lora": {"r": 8}, "fourierft": {"n": 1000}}[kind])
        adapted = ours.adapt(architecture.build(), architecture.attention, architecture.head)
    found = count(adapted, architecture.head)
    assert found["adapter"] + found["head"] == trainable


@pytest.mark.parametrize(
    ("name", "d", "layers", "biases"), [("roberta_base", 768, 12, 102_144), ("roberta_large", 1024, 24, 271_360)]
)
def test_bitfit_trains_every_bias_of_the_encoder(name, d, layers, biases):
    """A layer's four d × d projections, its feed-forward (4 d and d) and two norms, and the embeddings' norm; neither
    the head's, nor a pooler's, which the classifiers of transformers do without."""
    assert layers * (4 * d + 4 * d + d + 2 * d) + d == biases
    found = size(ARCHITECTURES[name], "bitfit", {})
    assert (found.adapter, found.head, found.stored_values) == (biases, HEAD[name], biases + HEAD[name])


def test_the_file_of_fourierft_holds_its_coefficients_and_the_head_alone(tmp_path):
    architecture = ARCHITECTURES["roberta_base"]
    ours = method("fourierft", {"n": 1000})
    model = ours.adapt(architecture.build(), architecture.attention, architecture.head)
    materialise(model)
    ours.save(model, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(t.numel() for name, t in tensors.items() if "spectrum" in name) == 24_000
    # peft's documentation of this very example: 616,130 trainable parameters
    assert sum(t.numel() for t in tensors.values()) == 616_130 == 24_000 + HEAD["roberta_base"]
    assert stored(tmp_path)["stored_values"] == 616_130


# --- sizes without weights -------------------------------------------------------------------------------------------

EVERY = [
    (SMALL_ENCODER, "fourierft", {"n": 20}),
    (SMALL_ENCODER, "lora", {"r": 3}),
    (SMALL_ENCODER, "dylora", {"r": 3}),
    (SMALL_ENCODER, "adapter_houlsby", {"r": 3}),
    (SMALL_ENCODER, "adapter_pfeiffer", {"r": 3}),
    (SMALL_ENCODER, "adapter_drop", {"r": 3, "drop": 1}),
    (SMALL_ENCODER, "bitfit", {}),
    (SMALL_ENCODER, "full", {}),
    (SMALL_ENCODER, "head_only", {}),
    (SMALL_GPT2, "fourierft", {"n": 20}),
    (SMALL_GPT2, "lora", {"r": 3}),
    (SMALL_GPT2, "adapter_lin", {"r": 3}),
    (SMALL_GPT2, "full", {}),  # its output layer is its embedding: counted and stored once
]


@pytest.mark.parametrize(
    ("architecture", "name", "settings"), EVERY, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_size_without_weights_is_that_of_a_real_model(architecture, name, settings, tmp_path):
    found = size(architecture, name, settings)
    real = architecture.auto.from_config(architecture.config)
    chosen = method(name, settings)
    real = chosen.adapt(real, architecture.attention, architecture.head)
    chosen.save(real, tmp_path)
    trained = count(real, architecture.head)
    assert (found.adapter, found.head, found.total) == (trained["adapter"], trained["head"], trained["total"])
    assert found.stored_values == found.trained
    assert {"stored_values": found.stored_values, "stored_bytes": found.stored_bytes} == stored(tmp_path)
    assert found.positions == (2 * 20 if name == "fourierft" else 0)


def test_adalora_trains_its_first_rank_and_stores_its_last():
    found = size(SMALL_ENCODER, "adalora", {"r": 2, "init_r": 3})
    head = 64 * 64 + 64 + 2 * 64 + 2
    assert (found.adapter, found.head) == (4 * 3 * (64 + 64 + 1), head)
    assert found.stored_values == 4 * 2 * (64 + 64 + 1) + head


def test_lora_all_is_on_every_linear_layer_but_the_output():
    architecture = ARCHITECTURES["llama2_7b"]
    with torch.device("meta"):
        model = method("lora_all", {"r": 64}).adapt(architecture.build(), architecture.attention, ())
    layer = 4 * (4096 + 4096) + 3 * (4096 + 11008)
    assert count(model, ())["adapter"] == 32 * 64 * layer == 159_907_840


def test_positions_are_two_an_entry_for_each_shape_or_each_matrix():
    two_shapes = dataclasses.replace(SMALL_ENCODER, attention=("query", "intermediate.dense"))
    assert [(group.shape, group.count) for group in matrices(two_shapes)] == [([64, 64], 2), ([256, 64], 2)]
    assert size(two_shapes, "fourierft", {"n": 20}).positions == 2 * 20 * 2
    assert size(SMALL_ENCODER, "fourierft", {"n": 20, "shared_entries": False}).positions == 2 * 20 * 4


def test_what_is_not_trained_is_never_made_real():
    model = method("lora", {"r": 2}).adapt(SMALL_ENCODER.build(), *ENCODER)
    materialise(model)
    assert {(p.requires_grad, p.device.type) for p in model.parameters()} == {(True, "cpu"), (False, "meta")}


@pytest.mark.parametrize("name", ["roberta_base", "llama2_7b"])
def test_the_recorded_counts_are_those_of_the_code(name, recorded):
    found = size(ARCHITECTURES[name], "fourierft", {"n": 1000})
    assert found == recorded[name].find("fourierft", {"n": 1000})

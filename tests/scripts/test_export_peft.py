"""An experiment for PEFT: its own configuration, the published settings, and nothing that it cannot say."""

import json

import peft
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import fourierft
from scripts import export_peft

# default_training_params.json of PEFT's method comparison, as far as a run here can set it; transcribed a second time.
PUBLISHED = {
    "model_id": "meta-llama/Llama-3.2-3B",
    "dtype": "bfloat16",
    "max_seq_length": 768,
    "batch_size": 4,
    "max_steps": 5000,
    "use_gc": False,
    "seed": 0,
    "grad_norm_clip": 1.0,
    "optimizer_kwargs": {"lr": 1e-4, "weight_decay": 0.1},
    "generation_kwargs": {"max_length": 800, "max_new_tokens": 300},
    "query_template": "Question: {query} Think step by step.\nAnswer:",
}


@pytest.fixture
def export(tmp_path, capsys):
    """export(...) -> exit code, what was said, and the one folder written."""

    def export(*overrides, out="out"):
        code = export_peft.main(["+exp=metamath", *overrides, "--out", str(tmp_path / out)])
        folders = list((tmp_path / out).glob("experiments/*/*"))
        return code, "".join(capsys.readouterr()), folders[0] if folders else None

    return export


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_the_benchmarks_own_setting_differs_in_nothing(make, export):
    config = make(*export_peft.BENCHMARK, "model=llama32_3b")
    assert export_peft.training_params(config) == PUBLISHED
    code, _, folder = export(export_peft.BENCHMARK[1])
    assert (code, read(folder, "training_params.json")) == (0, {})
    found = peft.PeftConfig.from_pretrained(folder)
    names = {"target_modules": {"q_proj", "v_proj"}}
    published = peft.FourierFTConfig(n_frequency=1000, scaling=300, random_loc_seed=777, **names)
    assert found == published


def test_peft_reads_fourierft_and_draws_the_same_positions(make, export):
    code, said, folder = export("method.n=5000")
    assert (code, folder.parts[-3:]) == (
        0,
        ("experiments", "fourierft", "llama-3.2-3B-n_frequency-5000-lr_0.1"),
    )
    assert str(folder) in said
    changed = {"optimizer_kwargs": {"lr": 0.1, "weight_decay": 0.0}}  # both: the benchmark replaces them as one
    assert read(folder, "training_params.json") == changed
    written = peft.PeftConfig.from_pretrained(folder)
    assert (written.n_frequency, written.random_loc_seed) == (5000, 2024)
    assert written.init_weights is False  # in peft's words: drawn from N(0, 1)

    shape = {"hidden_size": 96, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 3}
    tiny = LlamaConfig(**shape, num_key_value_heads=1, vocab_size=32)
    small = export("method.n=50", "method.scale=300", out="small")[2]
    theirs = peft.get_peft_model(LlamaForCausalLM(tiny), peft.PeftConfig.from_pretrained(small))
    config = make("+exp=metamath", "model=llama32_3b", "method.n=50", "method.scale=300")
    ours = config.method.adapt(LlamaForCausalLM(tiny), config.model.attention, config.model.head)
    coefficients = torch.randn(50, generator=torch.Generator().manual_seed(0))
    for name in ("q_proj", "v_proj"):
        there = theirs.get_submodule(f"base_model.model.model.layers.0.self_attn.{name}")
        there.fourierft_spectrum["default"].data = coefficients
        ours.get_submodule(f"model.layers.0.self_attn.{name}").fourierft_spectrum.data = coefficients.clone()
        delta = fourierft.delta_weights(ours)[f"model.layers.0.self_attn.{name}"]
        torch.testing.assert_close(delta, there.get_delta_weight("default"), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n", [1000, 5000])
def test_both_forms_move_the_model_by_the_rule(export, n):
    """With a rate of its own, and by adapter_config.json alone; q is 3072 x 3072 there, v 1024 x 3072, in 28 layers."""
    for recipe, changed, zeros in (
        ("fourierft", {"lr": 0.1, "weight_decay": 0.0}, False),
        ("fourierft_scaled", {}, True),
    ):
        _, _, folder = export(f"recipe=llama32_3b/{recipe}", f"method.n={n}", out=recipe)
        assert read(folder, "training_params.json") == ({"optimizer_kwargs": changed} if changed else {})
        written = peft.PeftConfig.from_pretrained(folder)
        matrices = [written.scaling**2 * n / (2 * height * 3072) for height in (3072, 1024)]
        assert changed.get("lr", 1e-4) * (28 * sum(matrices)) ** 0.5 == pytest.approx(0.9, rel=2e-3)
        assert (written.n_frequency, written.init_weights) == (n, zeros)


def test_every_linear_layer_is_peft_s_own_word(export):
    settings = ("method.targets=all-linear", "method.n=333", "method.scale=auto")  # n below a third of every width
    written = peft.PeftConfig.from_pretrained(export(*settings)[2])
    assert written.target_modules == "all-linear"
    shapes = {(3072, 3072): 2, (1024, 3072): 2, (8192, 3072): 2, (3072, 8192): 1}  # a layer's: q o, k v, gate up, down
    moved = sum(28 * count * written.scaling**2 * 333 / (2 * out * width) for (out, width), count in shapes.items())
    assert moved**0.5 == pytest.approx(12, rel=2e-3)


def test_zeros_and_other_methods_are_peft_s_own(export):
    assert read(export("method.init=zeros", out="a")[2], "adapter_config.json")["init_weights"] is True
    lora = peft.PeftConfig.from_pretrained(export("method=lora", "seed=1", out="b")[2])
    assert (lora.peft_type, lora.r, lora.lora_alpha, lora.lora_dropout) == ("LORA", 32, 64, 0.0)
    wave = export("method=waveft", "train.max_steps=100", out="c")[2]
    assert peft.PeftConfig.from_pretrained(wave).scaling == 25.0
    assert read(wave, "training_params.json") == {"max_steps": 100}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["method.shared_entries=false"], ["method.shared_entries=false"]),
        (["method=lora", "train.precision=bf16"], ["train.precision=bf16", "train.precision=fp32"]),
        (["recipe.warmup_ratio=0.06"], ["recipe.warmup_ratio=0.06", "0.1"]),
        (["task.characters=900"], ["task.characters=900", "1300"]),
        (["model.head=[lm_head]"], ["model.head=['lm_head']"]),
        (["task.base=4bit"], ["task.base=4bit", "bf16, fp32"]),
        (["model=causal_lm", "model.hub=a/b", "task.base=bf16"], ["recipe.schedule=linear", "cosine"]),
        (["model.hub=null", "model.local=here"], ["model.hub=null"]),
        (["model.attention=['qkv:q,v']"], ["model.attention", "qkv:q,v"]),
        (["method=full", "recipe=llama32_3b/vera"], ["method=full"]),
        (
            ["model.hub=a/b", "method.scale=auto"],
            ["method.scale=auto", "b are not known", "give the scale as a number"],
        ),
        (["method=adalora", "recipe=llama32_3b/vera"], ["method=adalora", "schedule"]),
        (["method.m=3"], ["method.m: no such key"]),
    ],
)
def test_what_peft_cannot_say_is_refused_by_name(export, overrides, words):
    code, said, folder = export(*overrides)
    assert (code, folder) == (2, None)
    assert all(word in said for word in words), said


def test_another_experiment_of_that_name_is_not_overwritten(export):
    assert export()[0] == export()[0] == 0
    code, said, _ = export("method.scale=100")
    assert code == 2 and "holds another experiment" in said

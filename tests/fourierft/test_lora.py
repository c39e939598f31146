"""An adapter as a LoRA: the same of a grid, else the nearest of its rank, in a file that PEFT reads."""

import json
from dataclasses import replace

import peft
import pytest
import torch
from comparing import moved, relative_error
from safetensors.torch import load_file
from torch import nn

import fourierft
from fourierft import FourierConfig, FourierError

GRID = FourierConfig(n=12, scale=15.0, targets=("query", "value"), head=("classifier",), entries="grid")
RANDOM = replace(GRID, n=50, entries="random")
DOCUMENT, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
pytestmark = pytest.mark.filterwarnings("ignore:delta_W starts out")  # the matrices are tiny


def trained(model, config):
    """The model, adapted, with a head that differs from its initial values."""
    return moved(fourierft.adapt(model, config))


def products(folder):
    """Layer -> B A of a LoRA's file."""
    tensors = load_file(folder / WEIGHTS)
    paths = [key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")]
    return {
        path.removeprefix("base_model.model."): tensors[f"{path}.lora_B.weight"] @ tensors[f"{path}.lora_A.weight"]
        for path in paths
    }


def changes(model):
    """Layer -> its whole delta_W, parts and all."""
    return {path: layer.delta_weight() for path, layer in fourierft.fourier_layers(model).items()}


# Exact --------------------------------------------------------------------------------------------------------------


def test_peft_computes_with_the_lora_of_a_grid_what_the_grid_does(roberta, tokens, tmp_path):
    model = trained(roberta(), GRID)
    errors = fourierft.to_lora(model, tmp_path)
    assert errors == dict.fromkeys(fourierft.fourier_layers(model), 0.0)
    loaded = peft.PeftModel.from_pretrained(roberta(), tmp_path)
    torch.testing.assert_close(loaded(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(roberta()(tokens).logits, model(tokens).logits, rtol=1e-2, atol=1e-2)
    for path, delta in changes(model).items():
        found = loaded.base_model.model.get_submodule(path).get_delta_weight("default")
        assert relative_error(found, delta) < 1e-6


@pytest.mark.parametrize("config", [GRID, replace(RANDOM, n=6), replace(RANDOM, n=300, basis="identity")])
def test_the_rank_is_that_of_delta_w_and_the_error_0(block, tmp_path, config):
    """Of a grid, of few coefficients, and where the rank is given for want of a low one."""
    model = trained(block(torch.float64), config)
    ranks = [int(torch.linalg.matrix_rank(delta)) for delta in changes(model).values()]
    errors = fourierft.to_lora(model, tmp_path, rank=None if max(ranks) <= 12 else 999)
    assert set(errors.values()) == {0.0}
    assert json.loads((tmp_path / DOCUMENT).read_text())["r"] == max(ranks)
    found = products(tmp_path)
    assert found.keys() == errors.keys()
    assert all(relative_error(found[path], delta) < 1e-12 for path, delta in changes(model).items())


def test_layers_of_unequal_rank_share_one_and_a_scaling_of_1(roberta, tmp_path):
    """Most servers read one rank and one alpha for all layers."""
    model = trained(roberta(), replace(GRID, n=4, n_pattern={"layer.1.attention.self.value": 16}, scale="auto"))
    fourierft.to_lora(model, tmp_path)
    document, tensors = json.loads((tmp_path / DOCUMENT).read_text()), load_file(tmp_path / WEIGHTS)
    assert document["r"] == document["lora_alpha"] == 8 and "rank_pattern" not in document
    assert {len(tensors[key]) for key in tensors if "lora_A" in key} == {8}
    assert all(relative_error(products(tmp_path)[path], delta) < 1e-6 for path, delta in changes(model).items())


def test_a_lora_of_zeros_is_one_of_rank_1(block, tmp_path):
    model = fourierft.adapt(block(), replace(RANDOM, init="zeros"))
    assert set(fourierft.to_lora(model, tmp_path).values()) == {0.0}
    assert not any(product.any() for product in products(tmp_path).values())


def test_the_default_device_is_not_asked(block, tmp_path):
    model = trained(block(), replace(RANDOM, n=300, basis="identity"))
    with torch.device("meta"):
        fourierft.to_lora(model, tmp_path, rank=999)
    assert all(relative_error(products(tmp_path)[path], delta) < 1e-6 for path, delta in changes(model).items())


# Approximate --------------------------------------------------------------------------------------------------------

KINDS = {
    "random": {},
    "a grid": {"entries": "grid", "n": 120},
    "a band": {"band": (6, 3)},
    "a basis": {"basis": "dct"},
    "positions of their own": {"shared_entries": False},
    "an n for each": {"n_pattern": {"query": 7}},
    "its own scales": {"scale": "auto", "n_pattern": {"query": 5}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_rank_gives_the_nearest_matrix_of_that_rank_and_its_error(block, tmp_path, kind):
    model = trained(block(torch.float64), replace(RANDOM, **KINDS[kind]))
    with pytest.warns(UserWarning, match=r"a LoRA of rank 4 leaves out \d+\.\d % of delta_W .*worst of 2 layers"):
        errors = fourierft.to_lora(model, tmp_path, rank=4)
    found = products(tmp_path)
    for path, delta in changes(model).items():
        values = torch.linalg.svdvals(delta)
        nearest = float(values[4:].norm() / values.norm())
        assert errors[path] == pytest.approx(nearest, rel=1e-9)
        assert relative_error(found[path], delta) == pytest.approx(nearest, rel=1e-9)
        assert torch.linalg.matrix_rank(found[path]) == 4


@pytest.mark.parametrize("targets", [("c_attn",), ("c_attn:q,v",)])
@pytest.mark.parametrize("rank", [None, 5])
@pytest.mark.filterwarnings("ignore:a LoRA of rank 5 leaves out")
def test_a_fused_projection_and_its_parts_become_a_lora_of_the_whole(gpt2, tokens, tmp_path, targets, rank):
    model = trained(gpt2(), FourierConfig(n=36, scale=5.0, targets=targets, entries="grid"))
    errors = fourierft.to_lora(model, tmp_path, rank)
    for path, delta in changes(model).items():
        values = torch.linalg.svdvals(delta)
        assert errors[path] == pytest.approx(float(values[rank:].norm() / values.norm()) if rank else 0.0, rel=1e-5)
        assert relative_error(products(tmp_path)[path], delta) == pytest.approx(errors[path], rel=1e-5, abs=1e-6)
        if ":" in targets[0]:
            assert not products(tmp_path)[path][32:64].any()
    loaded = peft.PeftModel.from_pretrained(gpt2(), tmp_path)
    if not rank:
        torch.testing.assert_close(loaded(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)


def test_without_a_low_rank_a_rank_must_be_given(roberta, tmp_path):
    model = trained(roberta(), replace(RANDOM, n=400))
    with pytest.raises(
        FourierError, match=r"0\.attention\.self\.query: delta_W has rank \d+: .*32 x 32.*rank=16.*grid"
    ):
        fourierft.to_lora(model, tmp_path / "lora")
    assert not (tmp_path / "lora").exists()


# Models and files ---------------------------------------------------------------------------------------------------


def test_a_merged_or_wrapped_model_gives_the_same_files(block, tmp_path):
    model = trained(block(), GRID)
    fourierft.to_lora(model, tmp_path / "plain")
    fourierft.to_lora(nn.Sequential(fourierft.merge(model)), tmp_path / "merged")
    for name in (DOCUMENT, WEIGHTS):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "merged" / name).read_bytes()


def test_over_a_quantised_weight_the_change_is_the_same(block, tmp_path):
    bnb = pytest.importorskip("bitsandbytes.nn")
    torch.manual_seed(1)
    model = nn.ModuleDict({"query": bnb.Linear4bit(64, 64, quant_type="nf4").to("cpu")})
    fourierft.adapt(model, FourierConfig(n=16, scale=10.0, targets=("query",), entries="grid"))
    fourierft.to_lora(model, tmp_path)
    (delta,), (found,) = changes(model).values(), products(tmp_path).values()
    assert relative_error(found, delta) < 1e-6


def test_only_the_adapted_layers_become_a_lora(roberta, tokens, tmp_path):
    """`output.dense` also ends the path of a layer in a head, which trains whole."""
    model = trained(roberta(), replace(GRID, n=8, targets=("output.dense",), head=("classifier", "layer.1.output")))
    fourierft.to_lora(model, tmp_path)
    loaded = peft.PeftModel.from_pretrained(roberta(), tmp_path)
    torch.testing.assert_close(loaded(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)
    changed = {path for path, module in loaded.base_model.model.named_modules() if hasattr(module, "lora_A")}
    assert changed == fourierft.fourier_layers(model).keys()


def test_the_files_tell_the_base_and_the_task_as_save_does(roberta, tmp_path):
    model = trained(roberta(), replace(GRID, task_type="SEQ_CLS", base_model="user/base"))
    fourierft.to_lora(model, tmp_path / "lora")
    fourierft.save(model, tmp_path / "fourier")
    ours, theirs = (json.loads((tmp_path / name / DOCUMENT).read_text()) for name in ("lora", "fourier"))
    alike = ("task_type", "base_model_name_or_path", "modules_to_save", "bias", "fan_in_fan_out", "inference_mode")
    assert {key: ours[key] for key in alike} == {key: theirs[key] for key in alike}
    heads = [
        {key: tensor for key, tensor in load_file(tmp_path / name / WEIGHTS).items() if "classifier" in key}
        for name in ("lora", "fourier")
    ]
    assert heads[0].keys() == heads[1].keys() and all(torch.equal(heads[0][key], heads[1][key]) for key in heads[0])
    assert peft.PeftConfig.from_pretrained(tmp_path / "lora").task_type == "SEQ_CLS"


def test_a_fourierft_adapter_is_not_overwritten_and_a_lora_is(block, tmp_path):
    model = trained(block(), GRID)
    fourierft.save(model, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(FourierError, match="no LoRA, and would be lost: choose another folder"):
        fourierft.to_lora(model, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    for _ in range(2):
        fourierft.to_lora(model, tmp_path / "lora")
    with pytest.raises(FourierError, match="'LORA', not FOURIERFT: this is another method's adapter"):
        fourierft.load(block(), tmp_path / "lora")


@pytest.mark.parametrize("rank", [0, -1, 2.0, True, "16"])
def test_a_rank_that_is_none_is_refused(block, tmp_path, rank):
    with pytest.raises(FourierError, match="rank="):
        fourierft.to_lora(trained(block(), GRID), tmp_path, rank=rank)


def test_coefficients_of_a_diverged_run_are_refused_by_name(block, tmp_path):
    model = trained(block(), GRID)
    with torch.no_grad():
        fourierft.fourier_layers(model)["attention.value"].fourierft_spectrum[3] = torch.nan
    with pytest.raises(FourierError, match=r"attention\.value: its coefficients are not finite"):
        fourierft.to_lora(model, tmp_path / "lora")
    assert not (tmp_path / "lora").exists()

"""q, k and v of a fused projection are adapted as the separate matrices they are."""

import copy

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

import fourierft
from fourierft import Entries, FourierConfig, FourierError, FourierLinear


class Separate(nn.Module):
    """The same projection as three layers, with names of their own."""

    def __init__(self, fused):
        super().__init__()
        weight, bias = fused.weight.detach(), fused.bias.detach()
        weight = weight if isinstance(fused, nn.Linear) else weight.t()
        for part, rows, shift in zip("qkv", weight.chunk(3), bias.chunk(3), strict=True):
            layer = nn.Linear(rows.shape[1], rows.shape[0]).to(rows.dtype)
            layer.load_state_dict({"weight": rows, "bias": shift})
            setattr(self, part, layer)

    def forward(self, x):
        return torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)


def fused(kind, width=12):
    torch.manual_seed(1)
    base = nn.Linear(width, 3 * width) if kind == "linear" else Conv1D(3 * width, width)
    nn.init.normal_(base.weight, std=0.3), nn.init.normal_(base.bias)
    return nn.ModuleDict({"attn": nn.ModuleDict({"qkv": base.double()})})


def config(targets, **more):
    return FourierConfig(n=20, scale=0.5, targets=targets, **more)


@pytest.mark.parametrize("parts", ["q", "q,v", "k,v", "q,k,v"])
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_parts_equal_separate_matrices(kind, parts):
    model = fused(kind)
    separate = fourierft.adapt(Separate(model["attn"]["qkv"]), config(tuple(parts.split(","))))
    fourierft.adapt(model, config((f"attn.qkv:{parts}",)))
    layer, separates = model["attn"]["qkv"], fourierft.fourier_layers(separate)
    with torch.no_grad():
        for row, other in zip(layer.fourierft_spectrum, separates.values(), strict=True):
            other.fourierft_spectrum.copy_(row)

    x, g = torch.randn(2, 5, 12).double().requires_grad_(), torch.randn(2, 5, 36).double()
    y, target = layer(x), separate(x)
    torch.testing.assert_close(y, target, rtol=1e-12, atol=1e-12)
    dx, dc = torch.autograd.grad(y, (x, layer.fourierft_spectrum), g)
    exact = torch.autograd.grad(target, (x, *(other.fourierft_spectrum for other in separates.values())), g)
    torch.testing.assert_close(dx, exact[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dc, torch.stack(exact[1:]), rtol=1e-12, atol=1e-12)

    assert fourierft.count(model).adapter == fourierft.count(separate).adapter == 20 * len(separates)
    deltas, others = fourierft.delta_weights(model), fourierft.delta_weights(separate)
    assert list(deltas) == [f"attn.qkv:{part}" for part in others]
    assert all(torch.equal(a, b) for a, b in zip(deltas.values(), others.values(), strict=True))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_merging_parts_changes_them_alone_and_unmerging_restores_every_bit(kind):
    model = fourierft.adapt(fused(kind), config(("qkv:q,v",)))
    layer, x = model["attn"]["qkv"], torch.randn(5, 12).double()
    before, weight = layer(x), layer.weight.clone()
    fourierft.merge(model)
    torch.testing.assert_close(layer(x), before, rtol=1e-12, atol=1e-12)
    change = layer.weight - weight if kind == "linear" else (layer.weight - weight).t()
    q, k, v = change.chunk(3)
    assert q.any() and v.any() and not k.any()
    fourierft.unmerge(model)
    assert torch.equal(layer.weight, weight)


def test_parts_of_gpt2_train_save_and_load(gpt2, tokens, tmp_path):
    model = fourierft.adapt(gpt2(), config(("c_attn:q,v",)))
    assert fourierft.count(model).adapter == 2 * 2 * 20
    model(tokens, labels=tokens).loss.backward()
    layers = fourierft.fourier_layers(model)
    assert all(layer.fourierft_spectrum.grad.abs().sum(1).gt(0).all() for layer in layers.values())

    fourierft.save(model, tmp_path)
    loaded = fourierft.load(gpt2(), tmp_path)
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)
    again = fourierft.load(copy.deepcopy(loaded), tmp_path)
    assert torch.equal(again(tokens).logits, model(tokens).logits)


def test_a_state_of_parts_is_not_taken_for_that_of_a_merged_layer():
    state = fourierft.adapt(fused("linear"), config(("qkv:q,v",))).state_dict()
    whole = fourierft.adapt(fused("linear"), config(("qkv",)))
    spectra = {name: tensor for name, tensor in state.items() if name.endswith("spectrum")}
    for each in (state, spectra):
        with pytest.raises(RuntimeError, match=r"size mismatch for attn\.qkv\.fourierft_spectrum"):
            whole.load_state_dict(each, strict=False)


def test_what_peft_cannot_say_is_refused_or_marked(gpt2, tmp_path):
    from peft import PeftModel

    model = fourierft.adapt(gpt2(), config(("c_attn:q,v",)))
    with pytest.raises(FourierError, match=r"PEFT cannot express targets=\('c_attn:q,v',\)"):
        fourierft.save(model, tmp_path, peft=True)
    assert not any(tmp_path.iterdir())
    fourierft.save(model, tmp_path)
    with pytest.raises(Exception, match="FOURIERFT_EXTENDED"):
        PeftModel.from_pretrained(gpt2(), tmp_path)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("c_attn:",), r"c_attn:.*c_attn:q,v"),
        (("c_attn:v,q",), r"c_attn:v,q.*order q, k, v"),
        (("c_attn:q,w",), r"c_attn:q,w"),
        (("c_attn:q:v",), r"c_attn:q:v"),
        ((":q",), r":q"),
    ],
)
def test_parts_that_are_none_are_refused_by_name(targets, message):
    with pytest.raises(FourierError, match=message):
        config(targets)


def test_a_layer_that_is_no_fused_projection_is_refused_with_its_sizes(gpt2):
    model = gpt2()
    before = [type(module) for module in model.modules()]
    with pytest.raises(FourierError, match=r"transformer\.h\.0\.mlp\.c_fc: q,v of .*32 inputs and 128 outputs"):
        fourierft.adapt(model, config(("c_fc:q,v",)))
    with pytest.raises(FourierError, match=r"means transformer\.h\.0\.attn\.c_attn twice"):
        fourierft.adapt(model, config(("c_attn:q,v", "attn.c_attn")))
    assert [type(module) for module in model.modules()] == before


def test_a_projection_that_interleaves_its_parts_is_refused():
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=20, **sizes))
    with pytest.raises(FourierError, match=r"attention\.query_key_value: q, k and v alternate head by head"):
        fourierft.adapt(model, config(("query_key_value:q,v",)))
    fourierft.adapt(model, config(("query_key_value",)))


def test_n_is_bounded_by_the_part():
    base = nn.Linear(4, 12)
    FourierLinear(base, Entries(16), 1.0, parts=("q",))
    with pytest.raises(FourierError, match=r"n=17 .*\(4, 4\)"):
        FourierLinear(base, Entries(17), 1.0, parts=("q",))

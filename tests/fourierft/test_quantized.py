"""Over the 8- and 4-bit layers of bitsandbytes the change is exact, and the weight stays as it is stored."""

import copy
import gc

import pytest
import torch
from comparing import outputs_and_grads, relative_error
from torch import nn

import fourierft
from fourierft import Entries, FourierConfig, FourierError, FourierLinear, QuantizedFourierLinear, reference

pytest.importorskip("bitsandbytes")

from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit, Linear8bitLt, Params4bit

CONFIG = FourierConfig(n=20, scale=10.0, targets=("query", "value"), head=("classifier",))
LOW = 3 * 2**-9  # three roundings to bfloat16

KINDS = {
    "nf4": dict(quant_type="nf4"),
    "nf4 in bfloat16": dict(quant_type="nf4", compute_dtype=torch.bfloat16),
    "fp4": dict(quant_type="fp4", compress_statistics=False),
    "fp4 in bfloat16": dict(quant_type="fp4", compute_dtype=torch.bfloat16),
    "8 bits": None,
}


def quantize(linear, kind):
    """A layer of bitsandbytes with the weight of an nn.Linear."""
    size, bias, options = (linear.in_features, linear.out_features), linear.bias is not None, KINDS[kind]
    if options is None:
        base = Linear8bitLt(*size, bias=bias, has_fp16_weights=False)
    else:
        base = Linear4bit(*size, bias=bias, **options)
    base.load_state_dict(linear.state_dict())
    return base.requires_grad_(False).to("cpu")  # which is when it is quantised


class Attention(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(1)
        self.query = quantize(nn.Linear(64, 64), kind)
        self.value = quantize(nn.Linear(64, 96, bias=False), kind)
        self.classifier = nn.Linear(96, 3)

    def forward(self, x):
        return self.classifier(self.value(torch.tanh(self.query(x))))


def adapted(kind, **settings):
    return fourierft.adapt(Attention(kind), FourierConfig(**(vars(CONFIG) | settings)))


def dense(base):
    """The weight that a layer of bitsandbytes stands for, float32."""
    if isinstance(base, Linear4bit):
        return dequantize_4bit(base.weight, base.weight.quant_state).float()
    rows = base.weight.SCB if base.weight.SCB is not None else base.state.SCB  # moved by the first forward pass
    return base.weight.data.float() * rows[:, None] / 127


@pytest.mark.parametrize("kind", KINDS)
def test_adapt_replaces_quantised_layers_and_freezes_them(kind):
    model = adapted(kind)
    assert list(fourierft.fourier_layers(model)) == ["query", "value"]
    assert all(isinstance(layer, QuantizedFourierLinear) for layer in fourierft.fourier_layers(model).values())
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    spectra = {"query.fourierft_spectrum", "value.fourierft_spectrum"}
    assert trainable == spectra | {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_zero_coefficients_leave_the_output_of_the_quantised_layer(kind, dtype, training):
    plain, x = Attention(kind).train(training), torch.randn(2, 9, 64).to(dtype)
    layer = adapted(kind, init="zeros").train(training).query
    with torch.set_grad_enabled(training):
        y, exact = layer(x), plain.query(x)
    assert y.dtype == dtype
    if kind == "8 bits" and dtype == torch.float32:
        assert torch.equal(y, exact)
    else:
        narrow = "bfloat16" in kind or dtype == torch.bfloat16 or not training  # its own in eval mode is bfloat16
        assert relative_error(y, exact) < (2 * LOW if narrow else 1e-6)


@pytest.mark.parametrize("forward", ["fft", "tokens"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_output_and_gradients_equal_the_reference_of_the_dequantised_weight(kind, dtype, forward):
    layer = fourierft.use(adapted(kind, scale=400.0), forward=forward).query
    x, g = torch.randn(2, 9, 64).to(dtype), torch.randn(2, 9, 64).to(dtype)
    if "bfloat16" in kind:
        x, g = x.bfloat16().to(dtype), g.bfloat16().to(dtype)  # so that rounding x and g to compute costs nothing
    weight, entries = dense(layer.base_layer), layer.entries.sample((64, 64))

    def expected(x):
        bias = layer.base_layer.bias.float()
        return reference.forward(x, weight, bias, layer.fourierft_spectrum, entries, layer.scale)

    ours = outputs_and_grads(layer, layer, x, g)
    exact = outputs_and_grads(expected, layer, x.float(), g.float())
    low = LOW if dtype == torch.bfloat16 or "bfloat16" in kind else 1e-5
    assert ours[0].dtype == ours[1].dtype == dtype and ours[2].dtype == torch.float32
    assert relative_error(ours[0], exact[0]) < low and relative_error(ours[1], exact[1]) < low
    assert relative_error(ours[2], exact[2]) < 1e-5
    unchanged = nn.functional.linear(x.float(), weight, layer.base_layer.bias.float())
    assert relative_error(unchanged, exact[0]) > 0.1  # the change is no detail of what was compared


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["nf4 in bfloat16", "fp4 in bfloat16", "8 bits"])
def test_bfloat16_does_not_swallow_small_coefficients(kind, training):
    """As over a dense weight: the change of the output, regressed on the exact one, is that times 1, within 2 %."""
    torch.manual_seed(1)
    linear = nn.Linear(1024, 1024)
    nn.init.normal_(linear.weight, std=0.05)
    layer = QuantizedFourierLinear(quantize(linear, kind), Entries(1000), 150.0).train(training)
    layer.reset_spectrum("normal")
    with torch.no_grad():
        layer.fourierft_spectrum.mul_(0.01)
        x = torch.randn(2048, 1024).bfloat16()
        if kind == "8 bits":
            plain = layer.base_layer(x.float())  # what it makes of its rounded inputs is not for this test
        else:
            plain = nn.functional.linear(x.float(), dense(layer.base_layer).bfloat16().float(), linear.bias)
        change = nn.functional.linear(x.float(), layer.delta_weight())

        def share_kept(y):
            return float(((y.float() - plain) * change).sum() / change.square().sum())

        assert share_kept(layer(x)) == pytest.approx(1, abs=0.02)
        if kind == "8 bits":
            swallowed = plain.bfloat16() + change.bfloat16()
        else:
            merged = dense(layer.base_layer).bfloat16() + layer.delta_weight().bfloat16()
            swallowed = nn.functional.linear(x, merged, linear.bias.bfloat16())
        assert share_kept(swallowed) < 0.6


def kept_for_backward(function, parameters):
    """The tensors that exist because of a forward pass, by storage: what it saves, and what else it holds on to."""

    def tensors():
        gc.collect()
        alive = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
        return [tensor for tensor in alive if tensor.layout is torch.strided]  # others' sparse ones have no address

    saved = []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    before = {tensor.data_ptr() for tensor in [*tensors(), *parameters]}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = function()
    kept = {tensor.data_ptr(): tensor for tensor in [*saved, *tensors()]}
    return [tensor for pointer, tensor in kept.items() if pointer not in before and pointer != y.data_ptr()]


@pytest.mark.parametrize("kind", ["nf4", "nf4 in bfloat16", "8 bits"])
def test_no_dense_copy_of_the_weight_is_kept_for_backward(kind):
    layer = adapted(kind).query
    x = torch.randn(3, 64, requires_grad=True)
    layer(x)  # the first pass moves a buffer or two
    kept = kept_for_backward(lambda: layer(x), [x, *layer.parameters()])
    assert sum(tensor.nbytes for tensor in kept) <= x.nbytes
    assert max((tensor.numel() for tensor in kept), default=0) <= x.numel()


@pytest.mark.parametrize("kind", ["nf4 in bfloat16", "fp4 in bfloat16"])
def test_layers_that_read_one_input_save_one_cast_of_it(kind):
    model, x, saved = adapted(kind), torch.randn(9, 64, requires_grad=True), []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.query(x), model.value(x)
    assert len({tensor.data_ptr() for tensor in saved if tensor.shape == x.shape}) == 1


@pytest.mark.parametrize("kind", ["nf4", "8 bits"])
def test_hooks_go_with_the_change_and_not_with_the_base(kind):
    model, x = Attention(kind), torch.randn(9, 64)
    handle = model.query.register_forward_hook(lambda layer, args, y: y + 1)
    layer = fourierft.adapt(model, CONFIG).query
    hooked = layer(x)
    handle.remove()
    assert torch.equal(hooked, layer(x) + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_before_it_is_adapted_changes_nothing(kind):
    """bitsandbytes reorders a 4-bit weight for its own use when it runs in eval mode on some CPUs."""
    model, x = Attention(kind).eval(), torch.randn(9, 64)
    weight = dense(model.query)
    with torch.no_grad():
        model(x)
    layer = fourierft.adapt(model, FourierConfig(**(vars(CONFIG) | {"init": "zeros"}))).query.train()
    exact = nn.functional.linear(x, weight, model.query.base_layer.bias.float())
    assert relative_error(layer(x), exact) < 2 * LOW  # the way there and back rounds the statistics to bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_into_another_quantised_model_it_computes_the_same(kind, tmp_path):
    model, x = adapted(kind), torch.randn(9, 64)
    fourierft.save(model, tmp_path, peft=True)
    other = fourierft.load(Attention(kind), tmp_path)
    assert torch.equal(other(x), model(x))
    assert not torch.equal(Attention(kind).query(x), model.query(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))


@pytest.mark.parametrize("kind", ["nf4", "8 bits"])
def test_merging_is_refused_with_the_remedy_and_nothing_is_merged(kind):
    model = Attention(kind)
    model.first = nn.Linear(64, 64)
    model._modules = {"first": model._modules.pop("first"), **model._modules}
    fourierft.adapt(model, FourierConfig(20, 10.0, ("first", "value")))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(FourierError, match=r"^value: .*(Linear4bit|Linear8bitLt).*unquantised.*fourierft\.load.*merge"):
        fourierft.merge(model)
    assert isinstance(model.first, FourierLinear) and not model.first.merged
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    fourierft.unmerge(model)


@pytest.mark.parametrize("kind", KINDS)
def test_count_is_that_of_the_unquantised_model(kind):
    count = fourierft.count(adapted(kind))
    assert (count.adapter, count.head) == (40, 3 * 97)
    assert count.total == 64 * 65 + 96 * 64 + 3 * 97 + 40


def test_a_state_dict_carries_the_quantisation():
    model = adapted("8 bits")
    other = adapted("8 bits")
    nn.init.zeros_(other.query.fourierft_spectrum)
    other.query.base_layer.weight.data.zero_()
    other.query.base_layer.weight.SCB.zero_()
    other.load_state_dict(model.state_dict())
    x = torch.randn(9, 64)
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_a_state_dict_carries_the_statistics_of_4_bits(kind):
    """They make the weight again, by the way bitsandbytes has for that; its layers cannot load them themselves."""
    model = adapted(kind)
    prefix = "query.base_layer.weight"
    state = {key.removeprefix(prefix): value for key, value in model.state_dict().items() if key.startswith(prefix)}
    weight = Params4bit.from_prequantized(state.pop(""), {f"weight{k}": v for k, v in state.items()}, device="cpu")
    assert torch.equal(dequantize_4bit(weight, weight.quant_state), dense(model.query.base_layer))


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_stay_float32_and_the_weight_stored_as_it_is(kind):
    model, x = adapted(kind), torch.randn(9, 64)
    before, weight = model.query(x), model.query.base_layer.weight.data.clone()
    model.to(torch.bfloat16)
    assert model.classifier.weight.dtype == torch.bfloat16
    assert model.query.fourierft_spectrum.dtype == torch.float32
    assert torch.equal(model.query.base_layer.weight.data, weight)
    assert relative_error(model.query(x.bfloat16()), before) < 2 * LOW


@pytest.mark.parametrize("kind", ["nf4", "8 bits"])
def test_parts_of_a_quantised_layer_are_refused_by_name(kind):
    model = nn.ModuleDict({"qkv": quantize(nn.Linear(64, 192), kind)})
    with pytest.raises(FourierError, match=r"qkv: parts of a (Linear4bit|Linear8bitLt).*name the whole layer"):
        fourierft.adapt(model, FourierConfig(20, 10.0, ("qkv:q,v",)))
    assert not fourierft.fourier_layers(model)


def test_a_layer_not_quantised_yet_says_so():
    layer = QuantizedFourierLinear(Linear4bit(64, 64), Entries(20), 10.0)
    with pytest.raises(FourierError, match="not quantised yet: move the model"):
        layer(torch.randn(9, 64))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.filterwarnings("ignore")
def test_a_model_that_transformers_loads_quantised_trains(bits, tmp_path):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

    size = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    LlamaForCausalLM(LlamaConfig(vocab_size=60, **size)).save_pretrained(tmp_path)
    how = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    quantization = BitsAndBytesConfig(**(how if bits == 4 else dict(load_in_8bit=True)))
    model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=quantization, device_map="cpu")
    fourierft.adapt(model, FourierConfig(50, 20.0, ("q_proj", "v_proj"), init="zeros"))
    layers = fourierft.fourier_layers(model)
    assert len(layers) == 4 and all(isinstance(layer, QuantizedFourierLinear) for layer in layers.values())

    tokens, losses = torch.randint(0, 60, (4, 12), generator=torch.Generator().manual_seed(4)), []
    optimizer = torch.optim.AdamW([layer.fourierft_spectrum for layer in layers.values()], lr=1.0)
    model.train()
    for _ in range(4):
        loss = model(tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 1e-3

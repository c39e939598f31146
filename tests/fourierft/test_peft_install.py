"""PEFT's FourierFT layers compute the same with this library under them, keep every call of PEFT, and can go back."""

import copy
import pickle
import sys

import peft
import pytest
import torch
from peft.tuners.fourierft.layer import FourierFTLayer, FourierFTLinear
from torch import nn
from transformers.pytorch_utils import Conv1D

import fourierft.peft
from fourierft import FourierError
from fourierft.peft import install, uninstall

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out", "ignore:Adapter default was active")

KINDS = ["linear", "conv1d"]
ADAPTERS = {"default": {"n_frequency": 40, "scaling": 7.0}, "other": {"n_frequency": 30, "scaling": 5.0}}
SEEDS = {"default": 777, "other": 3}


class Network(nn.Module):
    """Two layers, one of them not square, and a head."""

    def __init__(self, kind):
        super().__init__()
        layer = nn.Linear if kind == "linear" else lambda inputs, outputs: Conv1D(outputs, inputs)
        self.query, self.value, self.classifier = layer(24, 36), layer(36, 24), nn.Linear(24, 3)

    def forward(self, x):
        return self.classifier(torch.tanh(self.value(torch.tanh(self.query(x)))))


@pytest.fixture(autouse=True)
def uninstalled():
    yield
    uninstall()


def network(kind="linear"):
    torch.manual_seed(1)
    model = Network(kind)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return model


def settings(name="default", **others):
    others = {"target_modules": ["query", "value"], "random_loc_seed": SEEDS[name], **ADAPTERS[name], **others}
    return peft.FourierFTConfig(**others)


def adapted(kind="linear", active=("default",), dtype=torch.float32, **others):
    """A PEFT model with every adapter, those of `active` active; equal on every call."""
    base = network(kind).to(dtype)
    model = peft.get_peft_model(base, settings(**others), autocast_adapter_dtype=False)
    model.add_adapter("other", settings("other", **others), autocast_adapter_dtype=False)
    model.base_model.set_adapter(list(active))
    return model.to(dtype)


def spectra(model):
    return {name: p for name, p in model.named_parameters() if "fourierft_spectrum" in name and p.requires_grad}


def results(model, x):
    """The output, and the gradients of the input and of every active adapter."""
    x = x.clone().requires_grad_()
    y = model(x)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(6)).to(y.dtype)
    return y.detach(), *torch.autograd.grad(y, [x, *spectra(model).values()], g)


def inputs(batch=5):
    return torch.randn(batch, 7, 24, generator=torch.Generator().manual_seed(5))


def error(actual, expected):
    return float((actual.double() - expected.double()).detach().norm() / expected.detach().double().norm())


def assert_same(actual, expected, tolerance=1e-5):
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and error(a, b) < tolerance


def count_ours(monkeypatch):
    """The list grows by one with every layer that this library computes."""
    calls, real = [], fourierft.peft.fourier_linear
    monkeypatch.setattr(fourierft.peft, "fourier_linear", lambda *args: calls.append(1) or real(*args))
    return calls


@pytest.mark.parametrize("active", [("default",), ("other",), ("default", "other")])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_equal_peft_s_own(kind, active, monkeypatch):
    calls, model = count_ours(monkeypatch), adapted(kind, active)
    expected = results(model, inputs())
    assert not calls
    install()  # the layers were made before
    assert_same(results(model, inputs()), expected)
    assert_same(results(adapted(kind, active), inputs()), expected)  # and after
    assert len(calls) == 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("active", [("default",), ("default", "other")])
@pytest.mark.parametrize("kind", KINDS)
def test_low_precision_is_nearer_to_float32_than_peft_s_own(kind, active, dtype):
    narrow = adapted(kind, active, dtype)
    wide, x = copy.deepcopy(narrow).float(), inputs(50).to(dtype)
    expected, theirs = results(wide.query, x.float()), results(narrow.query, x)
    install()
    for mine, its, exact in zip(results(narrow.query, x), theirs, expected, strict=True):
        assert mine.dtype == its.dtype == dtype
        assert error(mine, exact) < error(its, exact) < 2e-2


@pytest.mark.parametrize("autocast", [True, False])
def test_mixed_precision_gives_the_dtypes_and_numbers_of_peft(autocast):
    """Autocast over a float32 model, and PEFT's default: float32 coefficients beside bfloat16 weights."""
    dtype = torch.float32 if autocast else torch.bfloat16
    model, x = adapted(dtype=dtype), inputs().to(dtype)
    for c in spectra(model).values():
        c.data = c.data.float()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected = results(model.query, x)
        install()
        assert_same(results(model.query, x), expected, 2e-2)


def test_real_models_of_both_layers_compute_the_same(roberta, gpt2, tokens):
    for factory, targets in ((roberta, ["query", "value"]), (gpt2, ["c_attn", "c_proj"])):
        torch.manual_seed(0)
        model = peft.get_peft_model(factory(), settings(target_modules=targets))
        expected = model(tokens).logits
        install()
        assert error(model(tokens).logits, expected) < 1e-5
        uninstall()


def test_switching_disabling_and_deleting_adapters_is_heard():
    model, x = adapted(), inputs()

    def walk():
        found = []
        for name in ("other", "default"):
            model.set_adapter(name)
            found.append(model(x))
        with model.disable_adapter():
            found.append(model(x))
        kept = copy.deepcopy(model)
        kept.delete_adapter("default")
        return *found, kept(x)

    expected = walk()
    assert min(error(a, b) for a, b in zip(expected[1:], expected[:-1], strict=True)) > 1e-2
    install()
    assert_same(walk(), expected)
    assert torch.equal(walk()[2], network()(x))


@pytest.mark.parametrize("kind", KINDS)
def test_merging_keeps_the_output_and_unmerging_the_weight(kind, monkeypatch):
    model, x = adapted(kind, ("default", "other")), inputs()
    expected, calls = model(x), []
    install()
    ours = FourierFTLinear.get_delta_weight
    monkeypatch.setattr(FourierFTLinear, "get_delta_weight", lambda *args: calls.append(1) or ours(*args))
    for safe in (True, False):
        model.merge_adapter(safe_merge=safe)
        assert error(model(x), expected) < 1e-5
        assert error(model.query.base_layer.weight, network(kind).query.weight) > 1e-2
        model.unmerge_adapter()
        assert error(model.query.base_layer.weight, network(kind).query.weight) < 1e-6
    model.merge_adapter()
    with model.disable_adapter():
        assert error(model(x), network(kind)(x)) < 1e-5  # PEFT unmerges in the call
    plain = model.merge_and_unload()
    assert type(plain.query) is type(network(kind).query) and error(plain(x), expected) < 1e-5
    assert len(calls) == 2 * 2 * 7  # two adapters, two layers, seven mergings and unmergings


def test_delta_weight_is_peft_s_and_has_its_gradient():
    layer = adapted().query
    g = torch.randn(36, 24)
    expected = (
        layer.get_delta_weight("default"),
        *torch.autograd.grad(layer.get_delta_weight("default"), layer.fourierft_spectrum["default"], g),
    )
    install()
    actual = layer.get_delta_weight("default")
    assert not torch.equal(actual, expected[0])  # equal to rounding, by another way
    assert_same((actual, *torch.autograd.grad(actual, layer.fourierft_spectrum["default"], g)), expected)


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_saved_adapter_and_its_head_load_in_plain_peft_and_back(tmp_path, low_cpu_mem_usage):
    x = inputs()
    install()
    model = adapted(modules_to_save=["classifier"])
    assert model.classifier.modules_to_save["default"].weight.requires_grad
    nn.init.normal_(model.classifier.modules_to_save["default"].weight)
    expected = model(x)
    model.save_pretrained(tmp_path)
    for change in (uninstall, install):
        change()
        loaded = peft.PeftModel.from_pretrained(network(), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
        assert error(loaded(x), expected) < 1e-5


def test_layers_that_do_more_than_their_product_are_called():
    model, x, seen = adapted(), inputs(), []
    model.query.base_layer.register_forward_hook(lambda layer, args, y: seen.append(1) or y + 1)

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model.value.base_layer.__class__ = Doubled
    expected = results(model, x)
    install()
    assert_same(results(model, x), expected)
    assert len(seen) == 2


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_and_pickles_of_a_model_that_ran_need_nothing_of_this_library(duplicate):
    install()
    model, x = adapted(), inputs()
    expected = model(x)
    assert b"fourierft.plan" not in pickle.dumps(model)
    twin = duplicate(model)
    assert torch.equal(twin(x), expected)
    uninstall()
    assert error(twin(x), expected) < 1e-5


def test_positions_follow_the_coefficients_from_device_to_device():
    model, x = adapted(), inputs()
    expected = model(x)
    install()
    for _ in range(2):
        assert copy.deepcopy(model).to("meta").query.get_delta_weight("default").is_meta
        assert error(model(x), expected) < 1e-5


@pytest.mark.parametrize("active", [("default",), ("default", "other")])
def test_a_model_that_ran_compiles_into_one_graph(active):
    install()
    model, x = adapted(active=active), inputs()
    expected = results(model, x)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert_same(results(compiled, x), expected)
    with torch.no_grad():
        for c in spectra(model).values():
            c.mul_(2)
    assert error(compiled(x), expected[0]) > 1e-2 and error(compiled(x), model(x)) < 1e-5  # nothing was baked in


def test_training_stays_with_peft_s_own():
    """20 steps that move every coefficient by far more than the bound; rounding alone separates the two."""
    ends, x = [], inputs()
    target = torch.randn(5, 7, 3)
    for change in (uninstall, install):
        change()
        model = adapted(active=("default", "other"))
        start = [c.detach().clone() for c in spectra(model).values()]
        optimizer = torch.optim.AdamW(spectra(model).values(), lr=1e-2)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), target).backward()
            optimizer.step()
        ends.append([c.detach() for c in spectra(model).values()])
    assert_same(*ends)
    assert all(error(end, begin) > 1e-2 for end, begin in zip(ends[1], start, strict=True))


def test_fewer_bytes_are_saved_for_the_backward_pass():
    sizes = []
    for change in (uninstall, install):
        change()
        model, saved = adapted(), {}

        def pack(tensor, saved=saved):
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        x = inputs().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y = model(x)
        sizes.append(sum(size for place, size in saved.items() if place not in weights))
        del y
    assert sizes[0] - sizes[1] >= 2 * 4 * 24 * 36  # delta_W of both layers, at least


def test_uninstall_restores_the_very_functions_however_often_install_was_called():
    before = dict(vars(FourierFTLinear)), dict(vars(FourierFTLayer))
    uninstall()
    install()
    assert FourierFTLinear.forward is not before[0]["forward"]
    assert FourierFTLinear.get_delta_weight is not before[1]["get_delta_weight"]
    install()
    uninstall()
    for layer, functions in zip((FourierFTLinear, FourierFTLayer), before, strict=True):
        assert vars(layer).keys() == functions.keys()
        assert all(value is functions[name] for name, value in vars(layer).items())


def test_without_peft_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft.tuners.fourierft.layer", None)
    with pytest.raises(FourierError, match="pip install peft"):
        install()


def test_an_unknown_layer_of_peft_is_refused(monkeypatch):
    monkeypatch.delattr(FourierFTLayer, "get_delta_weight")
    with pytest.raises(FourierError, match="this PEFT is unknown"):
        install()

"""The layer computes the reference, in every precision, and saves nothing it can do without."""

import copy
import pickle

import pytest
import torch
from comparing import outputs_and_grads, relative_error
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from fourierft import Algorithm, Entries, FourierError, FourierLinear, reference

SHAPES = [(24, 24), (24, 36), (15, 9)]


def make(kind, out_features, in_features, dtype=torch.float32, bias=True, n=20, scale=40.0):
    torch.manual_seed(1)
    if kind == "conv1d":
        base = Conv1D(out_features, in_features)
        nn.init.normal_(base.weight, std=0.3)
        nn.init.normal_(base.bias)
    else:
        base = nn.Linear(in_features, out_features, bias=bias)
    layer = FourierLinear(base.to(dtype).requires_grad_(False), Entries(n), scale)
    layer.reset_spectrum("normal")
    return layer


def expected(layer, x):
    """The reference in the dtype of x, its coefficient gradient arriving in layer.fourierft_spectrum too."""
    weight = layer.weight.t() if layer.fan_in_fan_out else layer.weight
    entries = layer.entries.sample(tuple(weight.shape))
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return reference.forward(x, weight.to(x.dtype), bias, layer.fourierft_spectrum.to(x.dtype), entries, layer.scale)


@pytest.mark.parametrize("lead", [(5,), (2, 3), (2, 1, 4), ()])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_output_and_gradients_equal_the_reference(kind, shape, lead, dtype, tolerance):
    layer = make(kind, *shape, dtype)
    x, g = torch.randn(*lead, shape[1], dtype=dtype), torch.randn(*lead, shape[0], dtype=dtype)
    ours = outputs_and_grads(layer, layer, x, g)
    for actual, exact in zip(ours, outputs_and_grads(lambda x: expected(layer, x), layer, x, g), strict=True):
        assert actual.dtype == dtype and actual.shape == exact.shape
        assert relative_error(actual, exact) < tolerance


def test_gradcheck():
    layer = make("linear", 6, 5, torch.float64, bias=False, n=7)
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, c: torch.func.functional_call(layer, {"fourierft_spectrum": c}, x), (x, layer.fourierft_spectrum)
    )


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_an_unfrozen_weight_and_bias_train_too(kind):
    layer = make(kind, 15, 9, torch.float64).requires_grad_(True)
    x = torch.randn(4, 9, dtype=torch.float64)
    ours = torch.autograd.grad(layer(x).square().sum(), (layer.weight, layer.bias))
    exact = torch.autograd.grad(expected(layer, x).square().sum(), (layer.weight, layer.bias))
    for actual, target in zip(ours, exact, strict=True):
        torch.testing.assert_close(actual, target, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lead", [(0,), (2, 0)])
def test_an_empty_batch_passes_with_a_zero_gradient(lead):
    layer = make("linear", 15, 9)
    x = torch.randn(*lead, 9, requires_grad=True)
    y = layer(x)
    assert y.shape == (*lead, 15)
    y.sum().backward()
    assert x.grad.shape == x.shape and not layer.fourierft_spectrum.grad.any()


def test_second_derivatives_are_refused():
    layer = make("linear", 15, 9)
    (grad,) = torch.autograd.grad(layer(torch.randn(4, 9)).square().sum(), layer.fourierft_spectrum, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


# Low precision ------------------------------------------------------------------------------------------------------

# The unit roundoff of bfloat16 is 2^-9 (float16: 2^-12). delta_W and the output are rounded once each, under autocast W
# too: a relative error of at most three roundings, and for float16, here, well below.
LOW = 3 * 2**-9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_low_precision_weights(kind, dtype):
    layer = make(kind, 48, 40, dtype)
    x, g = torch.randn(2, 9, 40).to(dtype), torch.randn(2, 9, 48).to(dtype)
    y, dx, dc = outputs_and_grads(layer, layer, x, g)
    exact = outputs_and_grads(lambda x: expected(layer, x), layer, x.float(), g.float())
    assert y.dtype == dx.dtype == dtype and dc.dtype == torch.float32
    assert relative_error(y, exact[0]) < LOW and relative_error(dx, exact[1]) < LOW
    # G = g^T x is float32 and g and x are what they are: nothing of dc is rounded to low precision.
    assert relative_error(dc, exact[2]) < 1e-5


@pytest.mark.parametrize("backward_inside", [False, True])
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_autocast(kind, backward_inside):
    layer = make(kind, 48, 40)
    x, g = torch.randn(2, 9, 40).bfloat16().float(), torch.randn(2, 9, 48).bfloat16().float()
    inputs = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(inputs)
        if backward_inside:
            y.backward(g.bfloat16())
    if not backward_inside:
        y.backward(g.bfloat16())
    exact = outputs_and_grads(lambda x: expected(layer, x), layer, x, g)
    assert y.dtype == torch.bfloat16 and inputs.grad.dtype == torch.float32
    assert relative_error(y, exact[0]) < LOW and relative_error(inputs.grad, exact[1]) < LOW
    assert relative_error(layer.fourierft_spectrum.grad, exact[2]) < 1e-5


@pytest.mark.parametrize("backward_inside", [False, True])
@pytest.mark.parametrize(
    ("settings", "forward"), [({}, "fft"), ({}, "tokens"), ({"kind": "grid"}, "grid"), ({"basis": "dct"}, "fft")]
)
def test_autocast_narrows_what_goes_in_and_nothing_between(settings, forward, backward_inside):
    base = nn.Linear(40, 40).requires_grad_(False).bfloat16().float()
    layer = FourierLinear(base, Entries(42, **settings), 30.0)
    layer.reset_spectrum("normal")
    layer.algorithm = Algorithm(forward=forward, compiled=False)  # in C it is rounded twice
    x, g = torch.randn(90, 40).bfloat16().float(), torch.randn(90, 40).bfloat16().float()
    exact = outputs_and_grads(layer, layer, x, g)
    inputs = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(inputs)
        if backward_inside:
            y.backward(g.bfloat16())
    if not backward_inside:
        y.backward(g.bfloat16())
    # One rounding of the result and at most one of delta_W; a product that autocast narrows makes it 1.2 units or more.
    assert relative_error(y, exact[0]) < 1.1 * 2**-9 and relative_error(inputs.grad, exact[1]) < 1.1 * 2**-9
    assert relative_error(layer.fourierft_spectrum.grad, exact[2]) < 1e-5


def test_autocast_leaves_float64_alone():
    layer = make("linear", 15, 9, torch.float64)
    x = torch.randn(4, 9, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), layer(x).double()) and layer(x).dtype == torch.float64


def test_bfloat16_does_not_swallow_small_coefficients():
    """Over many inputs the layer's change of the output is the exact one times 1, within 2 %; W + delta_W has lost it.

    A single output is rounded to bfloat16, which is coarser than so small a change; the regression of the change on the
    exact change averages that noise away (2 M outputs) and leaves what is lost for every input alike.
    """
    layer = make("linear", 1024, 1024, torch.bfloat16, n=1000, scale=150.0)
    with torch.no_grad():
        layer.weight.normal_(std=0.05)
        layer.fourierft_spectrum.mul_(0.01)
        x = torch.randn(2048, 1024).bfloat16()
        plain = nn.functional.linear(x.float(), layer.weight.float(), layer.bias.float())
        change = nn.functional.linear(x.float(), layer.delta_weight())

        def share_kept(y):
            return float(((y.float() - plain) * change).sum() / change.square().sum())

        assert share_kept(layer(x)) == pytest.approx(1, abs=0.02)
        merged = layer.weight + layer.delta_weight().bfloat16()
        assert share_kept(nn.functional.linear(x, merged, layer.bias)) < 0.5


def test_mixed_dtypes_are_refused_by_name():
    with pytest.raises(FourierError, match=r"torch.float32 .*torch.bfloat16.*autocast"):
        make("linear", 15, 9, torch.bfloat16)(torch.randn(4, 9))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_cuda_equals_the_reference(dtype):
    layer = make("linear", 48, 40, dtype)
    x, g = torch.randn(2, 9, 40).to(dtype), torch.randn(2, 9, 48).to(dtype)
    exact = outputs_and_grads(lambda x: expected(layer, x), layer, x.float(), g.float())
    layer.cuda()
    y, dx, dc = (t.cpu() for t in outputs_and_grads(layer, layer, x.cuda(), g.cuda()))
    low = 1e-5 if dtype == torch.float32 else LOW
    assert relative_error(y, exact[0]) < low and relative_error(dx, exact[1]) < low
    assert relative_error(dc, exact[2]) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_layer_that_never_ran_compiles_with_the_kernel():
    layer, x = make("linear", 48, 40, torch.float32), torch.randn(2, 9, 40)
    exact = expected(layer, x)
    layer.algorithm = Algorithm(forward="kernel")
    assert relative_error(torch.compile(layer.cuda(), fullgraph=True)(x.cuda()).cpu(), exact) < 1e-5


# What is saved for the backward pass --------------------------------------------------------------------------------


def saved_by(layer, x):
    """The distinct storages that one forward pass saves, as tensors."""
    saved = []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    return {tensor.data_ptr(): tensor for tensor in saved}


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_saved_are_the_input_and_the_coefficients_and_a_reference_to_the_weight(kind):
    layer = make(kind, 48, 40)
    x = torch.randn(2, 9, 40, requires_grad=True)
    saved = saved_by(layer, x)
    assert saved.keys() == {t.data_ptr() for t in (x, layer.weight, layer.fourierft_spectrum)}
    assert not any(tensor.is_complex() for tensor in saved.values())


def test_the_first_layer_of_a_frozen_model_saves_its_input_alone():
    layer, x = make("linear", 48, 40), torch.randn(2, 9, 40)
    assert saved_by(layer, x).keys() == {x.data_ptr()}


def test_frozen_coefficients_save_no_input():
    layer, x = make("linear", 48, 40), torch.randn(2, 9, 40, requires_grad=True)
    layer.fourierft_spectrum.requires_grad_(False)
    assert saved_by(layer, x).keys() == {t.data_ptr() for t in (layer.weight, layer.fourierft_spectrum)}


def test_autocast_saves_the_narrow_input_and_no_narrow_weight():
    layer, x = make("linear", 48, 40), torch.randn(2, 9, 40, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        saved = saved_by(layer, x)
    assert (
        sum(tensor.nbytes for tensor in saved.values())
        == 2 * x.numel() + 4 * layer.weight.numel() + 4 * layer.entries.n
    )


def test_gradient_checkpointing_changes_nothing():
    layer, x, g = make("linear", 15, 9), torch.randn(4, 9), torch.randn(4, 15)
    plain = outputs_and_grads(layer, layer, x, g)
    again = outputs_and_grads(lambda x: checkpoint(layer, x, use_reentrant=False), layer, x, g)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


# A module like any other --------------------------------------------------------------------------------------------


def test_parameters_are_the_base_layers_own_under_their_names():
    base = nn.Linear(9, 15)
    layer = FourierLinear(base, Entries(20), 40.0)
    assert layer.weight is base.weight and layer.bias is base.bias
    assert set(layer.state_dict()) == {"weight", "bias", "fourierft_spectrum"}
    assert not layer.fourierft_spectrum.any()


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("merged", [False, True])
def test_copies_and_pickles_compute_the_same(clone, merged):
    layer, x = make("linear", 15, 9), torch.randn(4, 9)
    if merged:
        layer.merge()
    copied = clone(layer)
    assert torch.equal(copied(x), layer(x))
    layer.unmerge(), copied.unmerge()
    assert torch.equal(copied.weight, layer.weight) and copied.weight is not layer.weight


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_and_pickles_have_their_positions_on_their_device(clone):
    layer = clone(make("linear", 24, 36).to("meta"))
    assert layer._plan.u.is_meta and layer.plan is layer._plan  # already: torch.compile cannot trace the draw


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_coefficients_survive_a_narrow_cast_bit_for_bit(narrow):
    layer = make("linear", 15, 9)
    layer(torch.randn(4, 9)).sum().backward()
    spectrum, before, grad = layer.fourierft_spectrum, layer.fourierft_spectrum.clone(), layer.fourierft_spectrum.grad
    layer.to(narrow)
    assert layer.weight.dtype == narrow
    assert layer.fourierft_spectrum is spectrum and torch.equal(spectrum, before)
    assert torch.equal(spectrum.grad, grad) and spectrum.grad.dtype == torch.float32
    assert layer.double().fourierft_spectrum.dtype == torch.float64
    assert layer.to(narrow).fourierft_spectrum.dtype == torch.float32


def test_a_subclass_of_linear_is_refused_by_name():
    base = nn.MultiheadAttention(8, 2).out_proj  # its weight is read past its forward
    with pytest.raises(FourierError, match="NonDynamicallyQuantizableLinear"):
        FourierLinear(base, Entries(20), 40.0)

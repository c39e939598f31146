"""Positions on a grid: drawn as rows times columns, exact in their own form, and cheap in what they save."""

import pytest
import torch
from torch import nn

import fourierft
from fourierft import Algorithm, Entries, FourierConfig, FourierError, FourierLinear, grid
from fourierft.plan import make_plan
from fourierft.products import delta_weight
from fourierft.wide import LOW_PRECISION

FORMED = Algorithm(forward="fft", gradient="fft")


def layer_of(shape, n, dtype=torch.float32, trains=False):
    layer = FourierLinear(nn.Linear(*shape[::-1], dtype=dtype).requires_grad_(trains), Entries(n, kind="grid"), 30.0)
    layer.reset_spectrum("normal")
    return layer


@pytest.mark.parametrize(("shape", "n"), [((24, 36), 24), ((36, 24), 24), ((25, 31), 30)])
def test_the_positions_are_rows_times_columns(shape, n):
    entries = Entries(n, 3, kind="grid")
    (u, v), (a, b) = entries.sample(shape), entries.sides(shape)
    assert (len(set(u.tolist())), len(set(v.tolist()))) == (a, b) and a * b == n
    assert set(zip(u.tolist(), v.tolist(), strict=True)) == {(p, q) for p in u.tolist() for q in v.tolist()}
    assert v.max() <= shape[1] // 2 and u.max() < shape[0]
    assert torch.equal(entries.sample(shape), torch.stack([u, v]))
    assert not torch.equal(Entries(n, 4, kind="grid").sample(shape), torch.stack([u, v]))


@pytest.mark.parametrize("shape", [(12, 18), (12, 17), (11, 8)])
def test_no_cosine_stands_twice_and_all_are_of_one_norm(shape):
    """Of the largest grid, which takes every row: the Gram matrix of its atoms is a multiple of the identity."""
    n = shape[0] * ((shape[1] - 1) // 2)
    plan = make_plan(shape, torch.device("cpu"), Entries(n, 3, kind="grid"))
    atoms = torch.stack([delta_weight(c * plan.unit(30.0), plan).flatten() for c in torch.eye(n, dtype=torch.float64)])
    expected = torch.eye(n, dtype=torch.float64) * 30.0**2 / (2 * shape[0] * shape[1])
    torch.testing.assert_close(atoms @ atoms.t(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "n", "sides"), [((768, 768), 1000, (40, 25)), ((64, 256), 100, (5, 20)), ((256, 64), 100, (20, 5))]
)
def test_the_sides_are_in_the_matrix_s_proportion(shape, n, sides):
    assert Entries(n, kind="grid").sides(shape) == sides


def test_an_n_that_makes_no_grid_is_refused_with_one_that_does():
    with pytest.raises(FourierError, match=r"n=997 .*\(768, 768\): n=999 does \(37 x 27\)"):
        Entries(997, kind="grid").sides((768, 768))
    with pytest.raises(FourierError, match=r"attention\.query: n=23 "):
        model = nn.ModuleDict({"attention": nn.ModuleDict({"query": nn.Linear(24, 24)})})
        fourierft.adapt(model, FourierConfig(23, 30.0, ("query",), entries="grid"))


@pytest.mark.parametrize(("shape", "n"), [((24, 36), 24), ((36, 24), 24), ((25, 31), 30), ((64, 64), 60)])
@pytest.mark.parametrize("trains", [False, True])
def test_the_thin_form_is_exact(shape, n, trains):
    layer = layer_of(shape, n, torch.float64, trains)
    inputs = [torch.randn(3, 5, shape[1], dtype=torch.float64, requires_grad=True), layer.fourierft_spectrum]
    inputs += [layer.weight] if trains else []
    found = []
    for algorithm in (Algorithm(), FORMED):
        layer.algorithm = algorithm
        y = layer(inputs[0])
        g = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
        found.append((y, *torch.autograd.grad(y, inputs, g)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_low_precision_rounds_the_output_alone():
    layer = layer_of((64, 64), 60, torch.bfloat16)
    x, g = torch.randn(2, 200, 64, dtype=torch.bfloat16).unbind()
    y = layer(x)
    exact = x.double() @ (layer.weight.double() + layer.delta_weight().double()).t() + layer.bias.double()
    assert ((y.double() - exact).abs() <= exact.abs() * 2**-8 + 1e-5).all()
    (grad,) = torch.autograd.grad(y, layer.fourierft_spectrum, g)
    layer.algorithm = FORMED
    (formed,) = torch.autograd.grad(layer(x), layer.fourierft_spectrum, g)
    torch.testing.assert_close(grad, formed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_two_terms_of_low_precision_are_exact_enough_for_tensor_cores(monkeypatch, dtype, adjoint):
    """Emulated: products of numbers in low precision are exact in float32, and added up in it by either."""
    monkeypatch.setattr(grid, "on_tensor_cores", lambda device, dtype: dtype in LOW_PRECISION)
    layer = layer_of((96, 64), 60, dtype)
    plan, c, delta = layer.plan, layer.fourierft_spectrum.detach(), layer.delta_weight().double()
    x = torch.randn(200, 96 if adjoint else 64).to(dtype)
    projected = grid.project(x, plan, torch.float32, adjoint)
    exact = grid.project(x.double(), plan, torch.float64, adjoint)
    assert projected.dtype == torch.float32
    assert 1e-9 < (projected - exact).norm() / exact.norm() < 5e-6
    for magnitude in (1.0, 1e-9, 1e6):  # of the coefficients, and so of what is added
        expected = x.double() @ (delta if adjoint else delta.t()) * magnitude
        change = grid.add_change_(
            torch.zeros(expected.shape), projected, c * (magnitude * plan.unit(layer.scale)), plan, adjoint, rows=dtype
        )
        assert change.dtype == torch.float32 and (change - expected).norm() < 1e-5 * expected.norm()


def test_the_backward_keeps_a_projection_and_not_the_input():
    layer, saved = layer_of((64, 64), 60), []

    def keep(tensor):
        saved.append(tensor)
        return tensor

    _, b = layer.plan.grid
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(torch.randn(1000, 64, requires_grad=True))
    own = [tensor for tensor in saved if tensor is not layer.weight and tensor is not layer.fourierft_spectrum]
    assert [tuple(tensor.shape) for tensor in own if tensor.numel() > 64 * 64] == [(1000, 2 * b)]


def test_the_rank_is_at_most_twice_the_shorter_side():
    layer = layer_of((64, 64), 60, torch.float64)
    assert 2 * min(layer.plan.grid) - 2 <= torch.linalg.matrix_rank(layer.delta_weight()) <= 2 * min(layer.plan.grid)


def test_parts_conv1d_merging_and_a_grid_of_each_layer(gpt2, tokens):
    config = FourierConfig(36, 5.0, ("c_attn:q,v", "c_fc"), entries="grid", shared_entries=False)
    model = fourierft.adapt(gpt2(), config)
    unmerged = model(tokens).logits
    fourierft.use(model, forward="fft", gradient="fft")
    torch.testing.assert_close(model(tokens).logits, unmerged, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fourierft.merge(model)(tokens).logits, unmerged, rtol=1e-4, atol=1e-4)
    first, second = list(fourierft.fourier_layers(model).values())[:2]
    assert not torch.equal(first.plan.u, second.plan.u[: first.entries.n])


@pytest.mark.parametrize("forced", [{"forward": "grid"}, {"gradient": "grid"}])
def test_the_form_is_refused_without_a_grid_and_by_halves(forced):
    plain = FourierLinear(nn.Linear(24, 24), Entries(24), 30.0)
    plain.algorithm = Algorithm(**forced)
    with pytest.raises(FourierError, match="entries='grid'"):
        plain(torch.randn(2, 24))
    mixed = layer_of((24, 24), 24)
    mixed.algorithm = Algorithm(**{"forward": "fft", "gradient": "fft", **forced})
    with pytest.raises(FourierError, match="for both or for neither"):
        mixed(torch.randn(2, 24))

"""Every algorithm computes the reference, over random shapes, entries, tokens and layouts; the rule picks by cost."""

import copy
import itertools
import pickle

import pytest
import torch
from comparing import default_dtype
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fourierft
from experiments.measure.memory import saved_for_backward
from fourierft import Algorithm, Entries, FourierError, FourierLinear, fourier_linear, reference, spectral, tokens
from fourierft.choice import (
    BEYOND_CACHE,
    CACHE,
    COMPILED,
    MULTIPLY_ADDS,
    MULTIPLY_ADDS_CUDA,
    MULTIPLY_ADDS_TENSOR_CORES,
    _multiply_adds,
)
from fourierft.plan import make_plan

CPU = torch.device("cpu")
SCALE = 90.0


@st.composite
def problems(draw):
    """(shape, n, seed, tokens): sizes from 1, odd and even; n up to all positions, so that mirrored ones collide."""
    shape = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    n = draw(st.integers(1, shape[0] * shape[1]) | st.just(shape[0] * shape[1]))
    return shape, n, draw(st.integers(0, 99)), draw(st.integers(0, 5))


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def equal(actual, expected):
    """To the last digits of float64."""
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(problems())
def test_every_form_of_the_change_and_of_its_gradient_equals_the_reference(problem):
    shape, n, seed, rows = problem
    plan, entries = make_plan(shape, CPU, Entries(n, seed)), Entries(n, seed).sample(shape)
    c, weight = random(n).requires_grad_(), random(*shape)
    x, g = random(rows, shape[1]), random(rows, shape[0])
    delta = reference.delta_weight(c, entries, shape, SCALE)
    (dc,) = torch.autograd.grad((x @ delta.t() * g).sum(), c)
    c, delta = c.detach(), delta.detach()

    close(spectral.delta_weight(c * plan.unit(SCALE), plan), delta)
    close(spectral.delta_weight(c * plan.unit(SCALE), plan, weight), weight + delta)
    close(spectral.delta_weight(c * plan.unit(SCALE), plan, weight.t().contiguous().t()), weight + delta)
    close(tokens.add_change_(g.clone(), x, c * plan.unit(SCALE), plan), g + x @ delta.t())
    close(tokens.add_change_(x.clone(), g, c * plan.unit(SCALE), plan, adjoint=True), x + g @ delta)

    close(plan.unit(SCALE) * spectral.amplitude_grad(g.t() @ x, plan), dc)
    close(plan.unit(SCALE) * tokens.backward_(x, g, plan, torch.float64), dc)


SHAPES = [(8, 8), (9, 9), (8, 12), (12, 7), (7, 12), (5, 9), (1, 6), (1, 7), (6, 1), (7, 1), (1, 1), (2, 3), (64, 48)]
CASES = [(shape, n) for shape in SHAPES for n in sorted({1, (shape[0] * shape[1] + 1) // 2, shape[0] * shape[1]})]


@pytest.mark.parametrize(("shape", "n"), CASES)
def test_the_half_transforms_equal_the_reference_to_the_last_digits(shape, n):
    c, plan = random(n).requires_grad_(), make_plan(shape, CPU, Entries(n, 7))
    delta = reference.delta_weight(c, Entries(n, 7).sample(shape), shape, SCALE)
    equal(spectral.delta_weight(c.detach() * plan.unit(SCALE), plan), delta.detach())
    grad = random(*shape)
    (dc,) = torch.autograd.grad(delta, c, grad)
    equal(plan.unit(SCALE) * spectral.amplitude_grad(grad, plan), dc)


def test_the_half_transforms_in_float32_stay_within_its_rounding():
    c, grad, plan = torch.randn(1000), torch.randn(96, 80), make_plan((96, 80), CPU, Entries(1000, 7))
    for transform, values in ((spectral.delta_weight, c), (spectral.amplitude_grad, grad)):
        narrow, exact = transform(values, plan), transform(values.double(), plan)
        assert narrow.dtype == torch.float32
        assert (narrow - exact).norm() < 1e-6 * exact.norm()


def test_many_tokens_pass_in_chunks(monkeypatch):
    monkeypatch.setitem(tokens.NUMBERS, "cpu", 3 * (8 + 9 + 2 * 30))  # three tokens at a time
    plan, c, x, g = make_plan((8, 9), CPU, Entries(30, 7)), random(30), random(10, 9), random(10, 8)
    delta = reference.delta_weight(c, Entries(30, 7).sample((8, 9)), (8, 9), SCALE)
    close(tokens.add_change_(g.clone(), x, c * plan.unit(SCALE), plan), g + x @ delta.t())
    close(
        plan.unit(SCALE) * tokens.backward_(x, g, plan, torch.float64),
        plan.unit(SCALE) * spectral.amplitude_grad(g.t() @ x, plan),
    )


@pytest.mark.parametrize("gradient", ["fft", "tokens"])
def test_float32_stays_within_its_rounding(gradient):
    shape, n = (96, 80), 1000
    plan, c, x, g = make_plan(shape, CPU, Entries(n, 7)), random(n), random(64, 80), random(64, 96)
    exact = plan.unit(SCALE) * spectral.amplitude_grad(g.t() @ x, plan)
    narrow = {
        "fft": lambda x, g: plan.unit(SCALE) * spectral.amplitude_grad(g.t() @ x, plan),
        "tokens": lambda x, g: plan.unit(SCALE) * tokens.backward_(x, g, plan, torch.float32),
    }[gradient](x.float(), g.float())
    assert narrow.dtype == torch.float32
    assert (narrow - exact).norm() < 2e-6 * exact.norm()
    change = tokens.add_change_(torch.zeros(64, 96), x.float(), c.float() * plan.unit(SCALE), plan)
    exact = x @ spectral.delta_weight(c * plan.unit(SCALE), plan).t()
    assert (change - exact).norm() < 2e-6 * exact.norm()


def test_inputs_are_left_unchanged():
    plan = make_plan((9, 8), CPU, Entries(20, 7))
    inputs = c, x, g, weight, grad = random(20), random(6, 8), random(6, 9), random(9, 8), random(9, 8)
    before = [tensor.clone() for tensor in inputs]
    spectral.delta_weight(c * plan.unit(SCALE), plan, weight), spectral.amplitude_grad(grad, plan)
    tokens.backward_(x, g, plan, torch.float64)
    tokens.add_change_(random(6, 9), x, c * plan.unit(SCALE), plan)
    assert all(map(torch.equal, inputs, before))


def test_equal_arguments_share_one_plan():
    assert make_plan((9, 8), CPU, Entries(20, 7)) is make_plan((9, 8), CPU, Entries(20, 7))
    assert make_plan((9, 8), CPU, Entries(20, 7)) is not make_plan((9, 8), CPU, Entries(20, 8))


def test_a_plan_first_made_in_inference_mode_serves_training():
    with torch.inference_mode():
        plan = make_plan((9, 8), CPU, Entries(21, 7))
    c = torch.randn(21, requires_grad=True)
    spectral.delta_weight(c * plan.unit(SCALE), plan).sum().backward()
    assert c.grad is not None


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_a_plan_does_not_depend_on_the_default_dtype(default, monkeypatch):
    expected = make_plan((9, 8), CPU, Entries(22, 7))
    monkeypatch.setattr("fourierft.plan._plans", {})
    with default_dtype(default):
        plan = make_plan((9, 8), CPU, Entries(22, 7))
    for name in ("sign", "u_share", "v_share"):
        table = getattr(plan, name)
        assert table.dtype == torch.float32 and torch.equal(table, getattr(expected, name))


def test_a_plan_of_several_entries_sums_their_changes():
    one, other = Entries(30, 7), Entries(5, 8)
    first, second, both = (make_plan((8, 9), CPU, *entries) for entries in ([one], [other], [one, other]))
    a, b = random(30), random(5)
    together = spectral.delta_weight(torch.cat([a, b]) * both.unit(SCALE), both)
    close(
        together,
        spectral.delta_weight(a * first.unit(SCALE), first) + spectral.delta_weight(b * second.unit(SCALE), second),
    )


@pytest.mark.parametrize("again", [copy.deepcopy, lambda plan: pickle.loads(pickle.dumps(plan))])
def test_copies_of_a_plan_are_the_plan(again):
    for entries in ([Entries(30, 7)], [Entries(30, 7), Entries(5, 8)]):
        plan = make_plan((8, 9), CPU, *entries)
        assert again(plan) is plan
        assert again(make_plan((8, 9), torch.device("meta"), *entries)) is plan  # a device may be missing elsewhere


@pytest.mark.parametrize("kind", ["random", "grid"])
def test_nothing_that_is_made_while_a_model_is_exported_is_kept(kind, monkeypatch):
    monkeypatch.setattr("fourierft.plan._plans", {})
    x, c, weight = torch.randn(4, 16), torch.randn(12), torch.randn(16, 16)

    class Adapted(nn.Module):
        def forward(self, x):
            return fourier_linear(x, weight, None, c, make_plan((16, 16), CPU, Entries(12, 7, kind=kind)), SCALE)

    exported = torch.export.export(Adapted(), (x,), strict=False).module()
    expected = reference.forward(x, weight, None, c, Entries(12, 7, kind=kind).sample((16, 16)), SCALE)
    for model in (Adapted(), exported):
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)


# The layer, by each of them -----------------------------------------------------------------------------------------

ALGORITHMS = [
    {"forward": forward, "gradient": gradient, "memory": memory}
    for forward, gradient, memory in itertools.product(["fft", "tokens"], ["fft", "tokens"], ["recompute", "keep"])
]


def make(shape, n, dtype=torch.float64, **algorithm):
    layer = FourierLinear(nn.Linear(shape[1], shape[0], dtype=dtype).requires_grad_(False), Entries(n), SCALE)
    layer.reset_spectrum("normal")
    layer.algorithm = Algorithm(**algorithm)
    return layer


def expected(layer, x):
    entries = layer.entries.sample((layer.out_features, layer.in_features))
    return reference.forward(x, layer.weight, layer.bias, layer.fourierft_spectrum, entries, layer.scale)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: "-".join(a.values()))
@settings(max_examples=15, deadline=None, derandomize=True)
@given(problems(), st.sampled_from(["contiguous", "transposed", "strided", "expanded"]))
def test_a_layer_equals_the_reference_by_every_algorithm_and_layout(algorithm, problem, layout):
    shape, n, seed, rows = problem
    torch.manual_seed(seed)
    layer = make(shape, n, **algorithm)
    x = {
        "contiguous": lambda: random(2, rows, shape[1]),
        "transposed": lambda: random(rows, 2, shape[1]).transpose(0, 1),
        "strided": lambda: random(2, rows, 2 * shape[1])[..., ::2],
        "expanded": lambda: random(1, rows, shape[1]).expand(2, -1, -1),
    }[layout]()
    g = random(shape[0], rows, 2).permute(2, 1, 0)
    x.requires_grad_()
    ours = torch.autograd.grad(layer(x), (x, layer.fourierft_spectrum), g)
    exact = torch.autograd.grad(expected(layer, x), (x, layer.fourierft_spectrum), g)
    close(layer(x), expected(layer, x))
    close(ours[0], exact[0])
    close(ours[1], exact[1])


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: "-".join(a.values()))
def test_gradcheck(algorithm):
    layer = make((6, 5), 7, **algorithm)
    x = random(4, 5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, c: torch.func.functional_call(layer, {"fourierft_spectrum": c}, x), (x, layer.fourierft_spectrum)
    )


@pytest.mark.parametrize("forward", ["fft", "tokens"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_without_a_weight_the_change_alone_comes_back_in_the_type_of_the_coefficients(forward, dtype):
    plan = make_plan((24, 20), CPU, Entries(50, 7))
    c = random(50, dtype=torch.promote_types(dtype, torch.float32)).requires_grad_()
    x = random(6, 20).to(dtype).requires_grad_()
    change = fourier_linear(x, None, None, c, plan, SCALE, Algorithm(forward=forward))
    delta = spectral.delta_weight(c.detach().double() * plan.unit(SCALE), plan)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2**-8}[dtype]
    assert change.dtype == c.dtype
    assert (change - x.double() @ delta.t()).norm() < tolerance * change.norm()
    change.sum().backward()
    assert x.grad.dtype == dtype and c.grad.dtype == c.dtype
    assert (x.grad - torch.ones(6, 24).double() @ delta).norm() < tolerance * x.grad.norm()


@pytest.mark.parametrize("forward", ["fft", "tokens"])
@pytest.mark.parametrize("gradient", ["fft", "tokens"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_rounded_twice(forward, gradient, dtype):
    layer = make((48, 40), 20, dtype, forward=forward, gradient=gradient)
    x, g = torch.randn(2, 9, 40).to(dtype).requires_grad_(), torch.randn(2, 9, 48).to(dtype)
    y = layer(x)
    dx, dc = torch.autograd.grad(y, (x, layer.fourierft_spectrum), g)
    wide = copy.deepcopy(layer).float()
    wide_x = x.detach().float().requires_grad_()
    exact = expected(wide, wide_x)
    exact_dx, exact_dc = torch.autograd.grad(exact, (wide_x, wide.fourierft_spectrum), g.float())
    assert y.dtype == dx.dtype == dtype and dc.dtype == torch.float32
    low = 3 * torch.finfo(dtype).eps / 2
    assert (y - exact).norm() < low * exact.norm() and (dx - exact_dx).norm() < low * exact_dx.norm()
    assert (dc - exact_dc).norm() < 1e-5 * exact_dc.norm()


# What is saved ------------------------------------------------------------------------------------------------------


def saved_bytes(layer, x):
    return saved_for_backward(layer, lambda: layer(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keep_saves_what_was_formed_and_the_branch_nothing_more(dtype):
    x = torch.randn(2, 9, 40).to(dtype).requires_grad_()
    assert saved_bytes(make((48, 40), 20, dtype, forward="fft"), x) == x.nbytes
    assert saved_bytes(make((48, 40), 20, dtype, forward="fft", memory="keep"), x) == x.nbytes + 48 * 40 * x.itemsize
    assert saved_bytes(make((48, 40), 20, dtype, forward="tokens", memory="keep"), x) == x.nbytes


def test_the_first_layer_of_a_frozen_model_keeps_nothing_for_dx():
    assert saved_bytes(make((48, 40), 20, torch.float32, memory="keep"), x := torch.randn(3, 40)) == x.nbytes


@pytest.mark.parametrize("gradient", ["fft", "tokens"])
def test_a_narrow_saved_input_halves_the_memory_and_rounds_only_the_gradient_of_the_coefficients(gradient):
    x, g = torch.randn(2, 64, 40, requires_grad=True), torch.randn(2, 64, 48)
    plain = make((48, 40), 20, torch.float32, gradient=gradient)
    narrow = copy.deepcopy(plain)
    narrow.algorithm = Algorithm(gradient=gradient, saved_dtype=torch.bfloat16)
    assert saved_bytes(narrow, x) == x.nbytes // 2
    exact = torch.autograd.grad(plain(x), (x, plain.fourierft_spectrum), g)
    rounded = torch.autograd.grad(narrow(x), (x, narrow.fourierft_spectrum), g)
    assert torch.equal(plain(x), narrow(x)) and torch.equal(exact[0], rounded[0])
    assert 1e-5 < (exact[1] - rounded[1]).norm() / exact[1].norm() < 1e-2


def test_a_query_and_a_value_save_one_narrow_input_between_them():
    layers = nn.ModuleList([make((48, 40), 20, torch.float32, saved_dtype=torch.bfloat16) for _ in range(2)])
    x = torch.randn(2, 9, 40, requires_grad=True)
    layers.forward = lambda x: [layer(x) for layer in layers]
    assert saved_bytes(layers, x) == x.nbytes // 2


# The rule -----------------------------------------------------------------------------------------------------------


def resolve(shape, n, rows, dtype=torch.float32, compiled=False, **forced):
    plan = make_plan(shape, CPU, Entries(n, 7))
    return Algorithm(compiled=compiled, **forced).resolve(plan, rows, dtype, dtype)


def test_few_tokens_take_the_branch_and_many_the_merged_product():
    shape, n = (1000, 500), 1000
    border = 1000 * 500 // (1000 + 500 + n)  # T (d1 + d2 + n) = d1 d2
    assert resolve(shape, n, border - 1).forward == "tokens"
    assert resolve(shape, n, border).forward == "fft"


def test_a_matrix_that_no_cache_holds_costs_more_to_form():
    for d, weight in ((1448, 1), (1449, BEYOND_CACHE)):
        assert (d * d > CACHE) == (weight > 1)
        border = weight * d * d / (2 * d + 1000)
        assert resolve((d, d), 1000, int(border)).forward == "tokens"
        assert resolve((d, d), 1000, int(border) + 1).forward == "fft"


def test_large_matrices_take_the_gradient_by_tokens_and_small_ones_another():
    n, rows = 100, 10**6  # so many tokens that only the cost of one counts: d + d + n against d d / M

    def by_tokens(d):
        return resolve((d, d), n, rows).gradient == "tokens"

    border = next(d for d in range(1, 10**4) if d * d / MULTIPLY_ADDS > 2 * d + n)
    assert by_tokens(border + 1) and not by_tokens(border - 1)


def test_c_moves_both_borders_towards_the_tokens(compiles):
    shape, n = (1000, 500), 1000
    plain = 1000 * 500 // (1000 + 500 + n)
    assert resolve(shape, n, int(plain / COMPILED) - 1, compiled=True) == Algorithm("tokens", "tokens")
    assert resolve(shape, n, int(plain / COMPILED) + 1, compiled=True) == Algorithm("fft", "tokens")
    assert not resolve(shape, n, 5, torch.float64, compiled=True).compiled


def test_torch_s_newer_setting_of_tf32_is_read():
    before = torch.backends.fp32_precision
    try:
        torch.backends.fp32_precision = "tf32"  # as transformers sets it; the older setting then raises
        assert _multiply_adds(True, torch.float32) == MULTIPLY_ADDS_TENSOR_CORES
    finally:
        torch.backends.fp32_precision = before
    assert _multiply_adds(True, torch.float32) == MULTIPLY_ADDS_CUDA


def test_what_is_forced_is_run():
    for forward, gradient in itertools.product(["fft", "tokens"], ["fft", "tokens"]):
        for rows in (1, 10**6):
            chosen = resolve((64, 64), 10, rows, forward=forward, gradient=gradient)
            assert (chosen.forward, chosen.gradient) == (forward, gradient)


def test_every_choice_of_the_rule_is_the_reference():
    for shape, n, rows in [((40, 30), 5, 2), ((40, 30), 5, 50), ((40, 30), 1000, 50), ((300, 300), 3, 200)]:
        layer, x = make(shape, n), random(rows, shape[1])
        close(layer(x), expected(layer, x))


def test_wrong_settings_are_refused_by_name(block, monkeypatch):
    monkeypatch.setattr("fourierft.choice._interprets", lambda: False)
    for setting in ({"forward": "fast"}, {"gradient": "kernel"}, {"memory": "none"}, {"saved_dtype": torch.int8}):
        (name, value), *_ = setting.items()
        with pytest.raises(FourierError, match=f"{name}={value!r}.*choose one of"):
            Algorithm(**setting)
    model = fourierft.adapt(block(), fourierft.FourierConfig(n=10, scale=5.0, targets=("query", "value")))
    with pytest.raises(FourierError, match=r"'speed' is no setting.*forward, gradient, memory, saved_dtype, compiled"):
        fourierft.use(model, speed="fast")
    with pytest.raises(FourierError, match=r"fourierft\.adapt"):
        fourierft.use(block(), memory="keep")
    with pytest.raises(FourierError, match=r"kernel.*cpu"):
        model["attention"]["query"](torch.randn(3, 24))  # as it was: nothing was set
        fourierft.use(model, forward="kernel")["attention"]["query"](torch.randn(3, 24))


def test_use_sets_what_is_given_and_leaves_the_rest(block):
    model = fourierft.adapt(block(), fourierft.FourierConfig(n=10, scale=5.0, targets=("query", "value")))
    assert fourierft.use(model, memory="keep") is model
    fourierft.use(model, gradient="fft")
    for layer in fourierft.fourier_layers(model).values():
        assert layer.algorithm == Algorithm(memory="keep", gradient="fft")

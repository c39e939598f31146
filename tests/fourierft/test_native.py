"""What the C computes is what torch computes, row by row; without a compiler torch computes it."""

import functools
import itertools
import os
import pwd
import sys
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

import fourierft
from fourierft import Algorithm, Entries, FourierLinear, native, reference, tokens
from fourierft.plan import make_plan
from tests.forked import Forked

CPU, SCALE = torch.device("cpu"), 90.0
pytestmark = pytest.mark.usefixtures("compiles")

LENGTHS = [2, 4, 6, 8, 10, 14, 18, 22, 24, 46, 48, 64, 86, 122, 250]  # each kind of pass, and several


def sides(shape, n, rows, dtype=torch.float32, seed=7):
    """plan, c, x, g, and in float64 delta_W."""
    plan, c = make_plan(shape, CPU, Entries(n, seed)), torch.randn(n)
    delta = reference.delta_weight(c.double(), Entries(n, seed).sample(shape), shape, SCALE)
    return plan, c, torch.randn(rows, shape[1]).to(dtype), torch.randn(rows, shape[0]).to(dtype), delta


def near(actual, expected, tolerance=1e-6):
    assert (actual.double() - expected).norm() <= tolerance * expected.norm()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_every_form_equals_the_reference(data):
    torch.manual_seed(0)
    shape = data.draw(st.sampled_from(LENGTHS)), data.draw(st.sampled_from(LENGTHS))
    n = data.draw(st.sampled_from([1, shape[0] * shape[1]]) | st.integers(1, shape[0] * shape[1]))
    plan, c, x, g, delta = sides(shape, n, data.draw(st.integers(1, 40)), data.draw(st.sampled_from(native.DTYPES)))
    exact = torch.zeros(n).double().requires_grad_()
    change = reference.delta_weight(exact, Entries(n, 7).sample(shape), shape, SCALE)
    (dc,) = torch.autograd.grad((x.double() @ change.t() * g.double()).sum(), exact)

    def within_rounding(actual, expected, *factors):
        assert (actual.double() - expected).norm() <= 1e-6 * torch.stack([f.double().norm() for f in factors]).prod()

    y, grad_x, into = (torch.zeros(len(x), shape[side]) for side in (0, 1, 1))
    tokens.add_change_(y, x, c * plan.unit(SCALE), plan, compiled=True)
    within_rounding(y, x.double() @ delta.t(), x, delta)
    tokens.add_change_(grad_x, g, c * plan.unit(SCALE), plan, adjoint=True, compiled=True)
    within_rounding(grad_x, g.double() @ delta, g, delta)
    units = torch.full((n,), SCALE / (shape[0] * shape[1]))
    for where in (None, (into, c * plan.unit(SCALE))):
        actual = plan.unit(SCALE) * tokens.backward_(x, g, plan, torch.float32, where, compiled=True)
        within_rounding(actual, dc, x, g, units)
    assert torch.equal(into, grad_x)


@pytest.mark.parametrize("dtype", native.DTYPES)
def test_the_change_is_added_to_what_is_there_within_one_digit(dtype):
    plan, c, x, _, delta = sides((48, 40), 50, 21, dtype)
    y = torch.randn(21, 48).to(dtype)
    exact = y.double() + x.double() @ delta.t()
    tokens.add_change_(y, x, c * plan.unit(SCALE), plan, compiled=True)
    assert ((y.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs() + 1e-6).all()


def test_a_change_below_half_a_digit_of_bfloat16_is_kept_in_the_mean():
    plan, c, x, _, delta = sides((48, 40), 50, 2000, torch.bfloat16)
    y = torch.randn(2000, 48).bfloat16()
    for size in (1e-1, 1e-2, 1e-3, 1e-4):
        change = size * (x.double() @ delta.t())
        sums = tokens.add_change_(y.clone(), x, size * c * plan.unit(SCALE), plan, compiled=True)
        kept = float(((sums.double() - y.double()) * change).sum() / change.square().sum())
        nearest = float(((y + change.bfloat16()).double() - y.double()).mul(change).sum() / change.square().sum())
        assert kept == pytest.approx(1, abs=0.05)
        assert size > 1e-4 or nearest < 0.5  # as it would be
    assert torch.equal(tokens.add_change_(y.clone(), x, 0 * c * plan.unit(SCALE), plan, compiled=True), y)


def test_no_row_depends_on_those_beside_it():
    plan, c, x, _, _ = sides((48, 40), 50, 30)

    def change(x):
        return tokens.add_change_(torch.zeros(len(x), 48), x, c * plan.unit(SCALE), plan, compiled=True)

    alone = torch.cat([change(row[None]) for row in x])
    assert torch.equal(change(x), alone)
    x[3], x[7] = torch.nan, 1e30
    others = torch.tensor([row not in (3, 7) for row in range(30)])
    assert torch.equal(change(x)[others], alone[others])
    assert change(x)[3].isnan().all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_gradient_is_the_same_every_time_and_close_with_any_number_of_threads(threads):
    plan, _, x, g, _ = sides((48, 40), 50, 300)
    exact = plan.unit(SCALE) * tokens.backward_(x.double(), g.double(), plan, torch.float64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        first, *others = (
            plan.unit(SCALE) * tokens.backward_(x, g, plan, torch.float32, compiled=True) for _ in range(5)
        )
    finally:
        torch.set_num_threads(before)
    near(first, exact)
    assert all(torch.equal(first, other) for other in others)


def test_rows_of_any_layout_and_none_at_all():
    plan, c, x, g, delta = sides((48, 40), 50, 12)
    strided, y = torch.randn(12, 80)[:, ::2], torch.zeros(48, 12).t()
    near(tokens.add_change_(y, strided, c * plan.unit(SCALE), plan, compiled=True), strided.double() @ delta.t())
    grad_x = torch.zeros(40, 12).t()
    tokens.backward_(x, g, plan, torch.float32, (grad_x, c * plan.unit(SCALE)), compiled=True)
    near(grad_x, g.double() @ delta)
    assert tokens.add_change_(torch.zeros(0, 48), x[:0], c * plan.unit(SCALE), plan, compiled=True).shape == (0, 48)
    assert not tokens.backward_(x[:0], g[:0], plan, torch.float32, compiled=True).any()


@pytest.mark.parametrize("saved_dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_saved_input_gives_the_gradient_of_it(saved_dtype):
    layer, x = layer_of((48, 40), 50, saved_dtype=saved_dtype, gradient="tokens"), torch.randn(30, 40)
    g = torch.randn(30, 48)
    (dc,) = torch.autograd.grad(layer(x), layer.fourierft_spectrum, g)
    exact = layer.plan.unit(SCALE) * tokens.backward_(x.to(saved_dtype).double(), g.double(), layer.plan, torch.float64)
    near(dc, exact)


def layer_of(shape, n, **algorithm):
    layer = FourierLinear(nn.Linear(shape[1], shape[0]).requires_grad_(False), Entries(n), SCALE)
    layer.reset_spectrum("normal")
    layer.algorithm = Algorithm(**algorithm)
    return layer


@pytest.mark.parametrize(("forward", "gradient"), list(itertools.product(["fft", "tokens"], ["fft", "tokens"])))
@pytest.mark.parametrize("needs_x", [True, False])
def test_a_layer_is_the_same_with_it_and_without(forward, gradient, needs_x):
    layer, x, g = (
        layer_of((48, 40), 50, forward=forward, gradient=gradient),
        torch.randn(3, 7, 40),
        torch.randn(3, 7, 48),
    )
    x.requires_grad_(needs_x)
    inputs = (x, layer.fourierft_spectrum) if needs_x else (layer.fourierft_spectrum,)
    ours = layer(x), *torch.autograd.grad(layer(x), inputs, g)
    layer.algorithm = Algorithm(forward, gradient, compiled=False)
    plain = layer(x), *torch.autograd.grad(layer(x), inputs, g)
    for one, other in zip(ours, plain, strict=True):
        near(one.detach(), other.detach().double())


def test_torch_compile_takes_it_in_one_graph(monkeypatch):
    called, run = [], native.library().through_spectrum
    layer = layer_of((48, 40), 50, forward="tokens", gradient="tokens")
    x, g = torch.randn(9, 40, requires_grad=True), torch.randn(9, 48)
    expected = torch.autograd.grad(layer(x), (x, layer.fourierft_spectrum), g)

    class Counting:
        def __getattr__(self, name):
            return getattr(library, name)

        def through_spectrum(self, *arguments):
            called.append(1)
            return run(*arguments)

    library = native.library()
    monkeypatch.setattr(native, "library", Counting)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    actual = torch.autograd.grad(compiled(x), (x, layer.fourierft_spectrum), g)
    assert len(called) == 2  # forward, and one for both gradients
    for one, other in zip(actual, expected, strict=True):
        near(one, other.double())


def test_what_follows_each_operator_sees_it():
    layer = layer_of((48, 40), 50, forward="tokens", gradient="tokens")

    def step(x):
        y = layer(x)
        return y.detach(), *torch.autograd.grad(y.square().sum(), layer.fourierft_spectrum)

    traced, x = make_fx(step)(torch.randn(9, 40)), torch.randn(9, 40)
    for one, other in zip(traced(x), step(x), strict=True):
        near(one, other.double())
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layer(torch.randn(9, 40)).shape == (9, 48)


def test_a_product_that_a_selective_checkpoint_saves_is_not_changed_unnoticed():
    layer, x = layer_of((48, 40), 50, forward="tokens", gradient="tokens"), torch.randn(9, 40)
    layer.bias = None
    (expected,) = torch.autograd.grad(layer(x).square().sum(), layer.fourierft_spectrum)

    def gradient():
        context = functools.partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default])
        y = checkpoint(layer, x, use_reentrant=False, context_fn=context)
        return torch.autograd.grad(y.square().sum(), layer.fourierft_spectrum)[0]

    with pytest.raises(RuntimeError, match="has been mutated"):
        gradient()
    layer.algorithm = Algorithm(forward="fft")
    near(gradient(), expected.double())


def test_the_default_device_is_not_asked():
    layer, x, g = layer_of((48, 40), 50, forward="tokens", gradient="tokens"), torch.randn(9, 40), torch.randn(9, 48)
    y = layer(x)
    (dc,) = torch.autograd.grad(y, layer.fourierft_spectrum, g)

    def elsewhere():
        torch.set_default_device("meta")
        again = layer(x)
        near(again, y.double(), 1e-5)
        near(*torch.autograd.grad(again, layer.fourierft_spectrum, g), dc.double(), 1e-5)

    process = Forked(elsewhere)  # of its own: C would write to the memory of a tensor that has none
    assert process.wait() == 0, process.said()


def test_lengths_that_it_cannot_take():
    assert native.available(768, 4096, 11008, 2)
    assert not any(native.available(768, length) for length in (1, 9, 2 * 67, 0))
    layer = layer_of((9, 40), 20)
    assert not layer.plan.native
    layer(torch.randn(3, 40)).sum().backward()  # by torch


# Where it cannot be compiled ------------------------------------------------------------------------------------------


def program():
    """A step of a layer, as in a process that has not asked for the compiled file yet."""
    native.library.cache_clear()
    native._transform.cache_clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        layer = fourierft.FourierLinear(nn.Linear(8, 8), Entries(5, os.getpid()), 1.0)  # no plan of another test
        layer(torch.randn(3, 8)).sum().backward()
    print("native", layer.plan.native)
    print(*(warning.message for warning in said), sep="\n", end="", file=sys.stderr)


def in_new_process(tmp_path, **environment):
    """What the program prints, and says on stderr, with a cache of its own."""
    process = Forked(program, **{"XDG_CACHE_HOME": str(tmp_path / "cache")} | environment)
    assert process.wait() == 0, process.said()
    out, said = process.said()
    return out.strip(), said


def test_it_is_compiled_once_and_kept(tmp_path):
    assert in_new_process(tmp_path) == ("native True", "")
    (kept,) = (tmp_path / "cache" / "fourierft").iterdir()
    before = kept.stat().st_mtime_ns
    assert in_new_process(tmp_path) == ("native True", "")
    assert [kept] == list((tmp_path / "cache" / "fourierft").iterdir()) and kept.stat().st_mtime_ns == before


def test_without_a_compiler_torch_computes_silently(tmp_path):
    assert in_new_process(tmp_path, CC="no-such-compiler") == ("native False", "")


def test_a_compiler_that_fails_is_told_once_and_torch_computes(tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'cc: cannot execute cc1' >&2\nexit 1\n")
    compiler.chmod(0o755)
    out, said = in_new_process(tmp_path, CC=str(compiler))
    assert out == "native False" and said.count("native.c is not used, torch alone is: cc: cannot execute cc1") == 1
    assert not any((tmp_path / "cache" / "fourierft").iterdir())


def test_a_compiler_without_openmp_or_march_still_serves(tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fopenmp*|*-march*) exit 1;; esac\nexec cc "$@"\n')
    compiler.chmod(0o755)
    assert in_new_process(tmp_path, CC=str(compiler)) == ("native True", "")


def test_a_damaged_file_in_the_cache_is_made_again(tmp_path):
    assert in_new_process(tmp_path) == ("native True", "")
    (kept,) = (tmp_path / "cache" / "fourierft").iterdir()
    kept.write_bytes(b"damaged")
    assert in_new_process(tmp_path) == ("native True", "") and kept.stat().st_size > 1000


def test_a_cache_that_is_no_folder_is_told_and_torch_computes(tmp_path):
    (tmp_path / "cache").write_text("")
    out, said = in_new_process(tmp_path)
    assert out == "native False" and "native.c is not used" in said


def test_without_a_home_it_is_compiled_for_the_process_alone(tmp_path, monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert in_new_process(tmp_path, XDG_CACHE_HOME="") == ("native True", "")


def test_use_turns_it_off(block):
    config = fourierft.FourierConfig(n=10, scale=5.0, targets=("query", "value"))
    model = fourierft.use(fourierft.adapt(block(), config), compiled=False)
    for layer in fourierft.fourier_layers(model).values():
        assert not layer.algorithm.resolve(layer.plan, 5, torch.float32, torch.float32).compiled

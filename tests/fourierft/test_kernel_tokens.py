"""The Triton kernels that multiply two spectra and that spread one: interpreted without a GPU, run on one."""

import pytest
import torch
from comparing import default_dtype
from kernel_devices import devices

from fourierft import Entries, reference
from fourierft.plan import make_plan
from fourierft.tokens import factor

kernel_tokens = pytest.importorskip("fourierft.kernel_tokens")

SHAPES = [((64, 48), 99, 40), ((33, 40), 1320, 7), ((1, 7), 5, 3), ((7, 1), 3, 35), ((130, 71), 65, 33), ((9, 6), 1, 1)]


def of(shape, n, tokens, device):
    """A plan and its entries, and in float64 rows x and g, and coefficients."""
    plan, entries = make_plan(shape, device, Entries(n, 5)), Entries(n, 5).sample(shape).to(device)
    rows = [torch.randn(tokens, size, dtype=torch.float64, device=device) for size in reversed(shape)]
    return plan, entries, *rows, torch.randn(n, dtype=torch.float64, device=device)


def spectra(rows):
    return torch.fft.rfft(rows.float(), dim=1)


@pytest.mark.parametrize(("shape", "n", "tokens"), SHAPES)
@devices
def test_the_sampled_product_is_the_coefficients_gradient(device, shape, n, tokens):
    plan, entries, x, g, c = of(shape, n, tokens, device)
    c.requires_grad_()
    (expected,) = torch.autograd.grad(
        reference.forward(x, torch.zeros(shape, device=device).double(), None, c, entries, 1.0), c, g
    )
    found = kernel_tokens.sampled_product(spectra(x), spectra(g), plan) / (shape[0] * shape[1])
    assert found.shape == (n,) and found.dtype == torch.float32
    assert (found - expected).norm() < 1e-6 * expected.norm()
    assert torch.equal(kernel_tokens.sampled_product(spectra(x)[:0], spectra(g)[:0], plan), torch.zeros_like(found))


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize(("shape", "n", "tokens"), SHAPES)
@devices
def test_the_change_is_that_of_delta_w(device, shape, n, tokens, adjoint):
    plan, entries, x, g, c = of(shape, n, tokens, device)
    delta = reference.delta_weight(c, entries, shape, 90.0)
    rows, expected = (g, g @ delta) if adjoint else (x, x @ delta.t())
    f = factor(c.float() * plan.unit(90.0), plan, adjoint)
    y = kernel_tokens.change(spectra(rows), f, plan, adjoint)
    length = expected.shape[1]
    assert y.shape == (tokens, length // 2 + 1) and (y[:, :: max(1, length // 2)].imag[:, : 2 - length % 2] == 0).all()
    found = torch.fft.irfft(y, n=length, dim=1, norm="forward")
    assert (found - expected).norm() < 1e-6 * expected.norm()
    assert kernel_tokens.change(spectra(rows)[:0], f, plan, adjoint).shape == (0, length // 2 + 1)


@devices
def test_sums_are_float32_whatever_the_default_dtype(device):
    plan, _, x, g, _ = of((24, 20), 100, 70, device)
    expected = kernel_tokens.sampled_product(spectra(x), spectra(g), plan)
    with default_dtype(torch.bfloat16):
        assert torch.equal(kernel_tokens.sampled_product(spectra(x), spectra(g), plan), expected)


@devices
def test_more_entries_and_tokens_than_a_program_takes(device, monkeypatch):
    monkeypatch.setattr(kernel_tokens, "ENTRIES", 16)
    plan, _, x, g, _ = of((24, 20), 100, 70, device)
    parts = [kernel_tokens.sampled_product(spectra(x[t]), spectra(g[t]), plan) for t in (slice(37), slice(37, None))]
    whole = kernel_tokens.sampled_product(spectra(x), spectra(g), plan)
    torch.testing.assert_close(whole, sum(parts))
    assert torch.equal(whole, kernel_tokens.sampled_product(spectra(x), spectra(g), plan))

"""The half transforms are the reference, to the last digits of float64, for sizes even and odd and square and not."""

import pytest
import torch

from fourierft import reference
from fourierft.entries import sample_entries
from fourierft.spectral import coefficient_grad, delta_weight, make_plan

CPU = torch.device("cpu")
SHAPES = [(8, 8), (9, 9), (8, 12), (12, 7), (7, 12), (5, 9), (1, 6), (1, 7), (6, 1), (7, 1), (1, 1), (2, 3), (64, 48)]
CASES = [(shape, n) for shape in SHAPES for n in sorted({1, (shape[0] * shape[1] + 1) // 2, shape[0] * shape[1]})]


@pytest.mark.parametrize(("shape", "n"), CASES)
def test_delta_weight_and_gradient_equal_the_reference(shape, n):
    c = torch.randn(n, dtype=torch.float64, requires_grad=True)
    expected = reference.delta_weight(c, sample_entries(shape, n, seed=7), shape, 90.0)
    plan = make_plan(shape, n, 7, None, CPU)
    torch.testing.assert_close(delta_weight(c.detach(), plan, 90.0), expected.detach(), rtol=1e-12, atol=1e-12)

    grad = torch.randn(shape, dtype=torch.float64)
    (expected_grad,) = torch.autograd.grad(expected, c, grad)
    torch.testing.assert_close(coefficient_grad(grad, plan, 90.0), expected_grad, rtol=1e-12, atol=1e-12)


def test_float32_stays_float32_and_within_its_rounding():
    c, plan = torch.randn(1000), make_plan((96, 80), 1000, 7, None, CPU)
    delta, exact = delta_weight(c, plan, 90.0), delta_weight(c.double(), plan, 90.0)
    assert delta.dtype == torch.float32
    assert (delta - exact).norm() < 1e-6 * exact.norm()
    grad = torch.randn(96, 80)
    dc, exact = coefficient_grad(grad, plan, 90.0), coefficient_grad(grad.double(), plan, 90.0)
    assert dc.dtype == torch.float32
    assert (dc - exact).norm() < 1e-6 * exact.norm()


def test_inputs_are_left_unchanged():
    c, grad = torch.randn(20), torch.randn(9, 8)
    before = c.clone(), grad.clone()
    plan = make_plan((9, 8), 20, 7, None, CPU)
    delta_weight(c, plan, 90.0), coefficient_grad(grad, plan, 90.0)
    assert torch.equal(c, before[0]) and torch.equal(grad, before[1])


def test_equal_arguments_share_one_plan():
    assert make_plan((9, 8), 20, 7, None, CPU) is make_plan((9, 8), 20, 7, None, CPU)
    assert make_plan((9, 8), 20, 7, None, CPU) is not make_plan((9, 8), 20, 8, None, CPU)


def test_a_plan_first_made_in_inference_mode_serves_training():
    with torch.inference_mode():
        plan = make_plan((9, 8), 21, 7, None, CPU)
    c = torch.randn(21, requires_grad=True)
    delta_weight(c, plan, 90.0).sum().backward()
    assert c.grad is not None

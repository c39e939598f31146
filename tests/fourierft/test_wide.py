"""Products with a float32 result. What a GPU computes of bfloat16 is emulated: its products are exact in float32."""

import pytest
import torch

from fourierft import wide
from fourierft.wide import two_terms, wide_product


@pytest.fixture
def emulated(monkeypatch):
    """Low precision runs as on tensor cores."""
    monkeypatch.setattr(wide, "on_tensor_cores", lambda device, dtype: dtype in wide.LOW_PRECISION)


def test_two_terms_hold_a_float32_number_to_their_digits():
    x = torch.randn(1000)
    for dtype, error in ((torch.bfloat16, 2**-17), (torch.float16, 2**-22)):
        high, low = two_terms(x, dtype)
        assert high.dtype == low.dtype == dtype
        assert ((high.double() + low.double() - x).abs() <= error * x.abs() + 2**-25).all()


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wider", [torch.float32, torch.float64])
def test_operands_of_two_dtypes_lose_nothing_where_there_are_no_tensor_cores(wider, narrow):
    a, b = torch.randn(30, 200, dtype=wider), torch.randn(200, 20).to(narrow)
    assert torch.equal(wide_product(a, b), a @ b.to(wider))


def test_two_terms_are_multiplied_to_far_less_than_the_rounding_of_the_other_operand(emulated):
    a, exact = torch.randn(200, 30).t(), torch.randn(200, 20)
    b = exact.bfloat16()
    product, expected = wide_product(a, b), a.double() @ b.double()
    error = (product - expected).norm() / expected.norm()
    rounding = (a.double() @ exact.double() - expected).norm() / expected.norm()
    assert product.dtype == torch.float32 and 1e-7 < error < 4e-6 < 1e-3 < rounding


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_operands_of_one_dtype_are_multiplied_as_they_are(dtype):
    a, b = torch.randn(30, 200).to(dtype), torch.randn(200, 20).to(dtype)
    product, expected = wide_product(a, b), a.double() @ b.double()
    assert product.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (product - expected).norm() < 1e-6 * expected.norm()

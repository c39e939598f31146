"""Products with a float32 result of operands in low precision, as tensor cores compute them.

A float32 operand can take part as the sum of two bfloat16 numbers, with a relative error of 2^-17: a b = a' b + a'' b.
"""

import torch
from torch import Tensor

LOW_PRECISION = (torch.bfloat16, torch.float16)


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, in at least float32. Both have one dtype, or that of b is narrower.

    A float32 `a` and a bfloat16 `b` on a GPU are multiplied in two terms, see above; in other cases b is widened.
    """
    if a.dtype != b.dtype:
        if not (a.dtype == torch.float32 and b.dtype == torch.bfloat16 and on_tensor_cores(b.device, b.dtype)):
            return a @ b.to(a.dtype)
        high, low = two_terms(a, b.dtype)
        return wide_product(high, b).add_(wide_product(low, b))
    if a.dtype not in LOW_PRECISION:
        return a @ b
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()


def two_terms(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x rounded to the low precision `dtype`, and the remainder, rounded too."""
    high = x.to(dtype)
    return high, (x - high).to(dtype)


def on_tensor_cores(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a few products in `dtype` cost less than one in float32."""
    return device.type == "cuda" and dtype in LOW_PRECISION

"""Products whose result is float32 although their operands are narrow, which is what tensor cores compute.

A float32 number is the sum of two bfloat16 numbers to 2^-17 of it, and an operand so written is multiplied by tensor
cores as well: a b = a' b + a'' b.
"""

import torch
from torch import Tensor

LOW_PRECISION = (torch.bfloat16, torch.float16)


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b with a result of at least float32. Operands of one dtype, or b a narrower one than a.

    On a GPU a float32 `a` meets a bfloat16 `b` in two terms: the error is 2^-17 of a. Elsewhere b is widened.
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
    """x rounded to the low precision `dtype`, and what that leaves of it, rounded too."""
    high = x.to(dtype)
    return high, (x - high).to(dtype)


def on_tensor_cores(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether products in `dtype` are so much faster than those in float32 that a few of them cost less than one."""
    return device.type == "cuda" and dtype in LOW_PRECISION

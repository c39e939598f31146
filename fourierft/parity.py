"""The gradient from x and g by even and odd parts: half the arithmetic of G = g^T x, which is never formed.

With J the reversal q -> -q (mod d), x is the sum of (x + Jx) / 2 and (x - Jx) / 2. dc sees only the point-symmetric
part of G. There the even part of g meets that of x alone, and odd meets odd: two products of half the size each way.
"""

import torch
from torch import Tensor

from .plan import Plan
from .spectral import folded_grad


def coefficient_grad(x: Tensor, g: Tensor, plan: Plan, scale: float) -> Tensor:
    """dL/dc from x: (T, in) and g = dL/dy: (T, out), float32 or float64. Returns (n,) in their dtype."""
    h2 = plan.shape[1] // 2 + 1
    (x_even, x_odd), (g_even, g_odd) = _parts(x), _parts(g)
    even, odd = g_even.t() @ x_even, g_odd.t() @ x_odd
    rows, columns = (slice(1, size + 1) for size in odd.shape)  # frequencies that are not their own mirrors
    folded = torch.cat([even, even[:, columns].flip(1)], dim=1)
    folded[rows, columns] += odd
    folded[rows, h2:] -= odd.flip(1)
    return folded_grad(folded, plan, scale)


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """The even part at q in [0, d/2] and the odd part at 0 < q < d/2, where it is not zero."""
    h = x.shape[1] // 2 + 1
    mirror = x[:, h:].flip(1)
    even = x[:, :h].clone()
    inner = even[:, 1 : mirror.shape[1] + 1]
    odd = (inner - mirror).mul_(0.5)
    inner.add_(mirror).mul_(0.5)
    return even, odd

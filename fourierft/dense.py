"""delta_W, and the gradient from G = dL/d(delta_W), in any basis but Fourier: by products with its two matrices.

The forms of `spectral.py` in d1 d2 (d1 + n / d1) multiply-adds (none where the basis is the identity): what a
comparison of bases needs, not more.
"""

from torch import Tensor

from .plan import BasisPlan


def delta_weight(c: Tensor, plan: BasisPlan, scale: float, base: Tensor | None = None) -> Tensor:
    """delta_W, or base + delta_W. c: (n,) float32 or float64; base: (out, in), of any dtype. Returns (out, in) as c."""
    c, delta = c * plan.unit(scale), c.new_zeros(plan.shape)
    if plan.vectors:
        left, right = plan.vectors
        delta.index_add_(0, plan.u, right.t()[plan.v].to(c.dtype) * c[:, None])
        delta = left.to(c.dtype) @ delta
    else:
        delta[plan.u, plan.v] = c
    return delta if base is None else delta.add_(base)


def coefficient_grad(grad: Tensor, plan: BasisPlan, scale: float) -> Tensor:
    """dL/dc from grad = dL/d(delta_W), (out, in) float32 or float64. Returns (n,) in the dtype of grad."""
    if not plan.vectors:
        return grad[plan.u, plan.v] * plan.unit(scale)
    left, right = plan.vectors
    rows = left.t().to(grad.dtype) @ grad
    return (rows[plan.u] * right.t()[plan.v].to(grad.dtype)).sum(1) * plan.unit(scale)

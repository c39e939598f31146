"""delta_W and its gradient in another basis than Fourier's, see `bases.py`.

Forming delta_W takes d1 d2 (d1 + n / d1) multiply-adds (none for the identity), and so does the gradient from
G = dL/d(delta_W): enough to compare bases, not fast.
"""

from torch import Tensor

from .plan import BasisPlan


def delta_weight(a: Tensor, plan: BasisPlan, base: Tensor | None = None) -> Tensor:
    """delta_W, or base + delta_W, as `spectral.delta_weight`."""
    delta = a.new_zeros(plan.shape)
    if plan.vectors:
        left, right = plan.vectors
        delta.index_add_(0, plan.u, right.t()[plan.v].to(a.dtype) * a[:, None])
        delta = left.to(a.dtype) @ delta
    else:
        delta[plan.u, plan.v] = a
    return delta if base is None else delta.add_(base)


def amplitude_grad(grad: Tensor, plan: BasisPlan) -> Tensor:
    """dL/da from grad = dL/d(delta_W), as `spectral.amplitude_grad`."""
    if not plan.vectors:
        return grad[plan.u, plan.v]
    left, right = plan.vectors
    rows = left.t().to(grad.dtype) @ grad
    return (rows[plan.u] * right.t()[plan.v].to(grad.dtype)).sum(1)

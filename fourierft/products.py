"""Rows times W + delta_W, and the gradient of the coefficients, by the chosen algorithm, in any precision.

Coefficients, delta_W, G and all transforms are float32, or float64 in a float64 model. In bfloat16 and float16 the sum
W + delta_W would lose delta_W in the rounding of W, and y += x delta_W^T would lose, at every token alike, a change
below half the last digit of y. So either one product of twice the inner length, [x x] [W delta_W]^T, adds both before
it rounds, or "tokens" or "grid" add the change to a float32 product. (In C to a bfloat16 one, with a pseudo-random
rounding that preserves the change on average: see native.c.)
"""

from types import ModuleType

import torch
from torch import Tensor

from . import in_basis, spectral
from .choice import Algorithm
from .plan import BasisPlan, Plan
from .wide import LOW_PRECISION, wide_product


def form(
    a: Tensor, plan: Plan | BasisPlan, weight: Tensor | None, algorithm: Algorithm, dtype: torch.dtype
) -> Tensor | None:
    """What `times` needs besides the weight: W + delta_W; in low precision, or without a weight, delta_W alone.

    weight: (out, in) or None. Returns (out, in) in `dtype`, that of the rows; None for "tokens" and "grid", which form
    nothing.
    """
    if algorithm.forward in ("tokens", "grid"):
        return None
    base = None if dtype in LOW_PRECISION else weight
    if algorithm.forward == "fft" or isinstance(plan, BasisPlan):
        return delta_weight(a, plan, base).to(dtype)
    from . import kernel  # needs Triton

    return kernel.delta_weight(a, plan, base, dtype)


def delta_weight(a: Tensor, plan: Plan | BasisPlan, base: Tensor | None = None) -> Tensor:
    """delta_W, or base + delta_W, in the plan's basis. a: (n,) float32 or float64. Returns (out, in) as a."""
    return _forms(plan).delta_weight(a, plan, base)


def times(
    rows: Tensor,
    weight: Tensor | None,
    formed: Tensor | None,
    plan: Plan | BasisPlan,
    wide: torch.dtype,
    algorithm: Algorithm,
    bias: Tensor | None = None,
    adjoint: bool = False,
) -> Tensor:
    """rows (W + delta_W)^T + b, or, adjoint, rows (W + delta_W). rows: (T, in or out); formed: from `form`; if that is
    None, the result is without delta_W, which is then added. wide: dtype of the coefficients.

    Returns (T, out or in) in the dtype of the rows; in at least float32 if there is no weight or the change is added.
    """

    def turned(matrix: Tensor) -> Tensor:
        return matrix if adjoint else matrix.t()

    if formed is None:
        if weight is None:
            return torch.zeros(len(rows), plan.shape[adjoint], dtype=wide, device=rows.device)
        rounds_well = algorithm.forward == "tokens" and algorithm.compiled and not rows.is_cuda  # in C
        y = rows @ turned(weight) if rounds_well else wide_product(rows, turned(weight))
        return y if bias is None else y.add_(bias)
    if weight is None:
        return wide_product(rows, turned(formed))
    if rows.dtype in LOW_PRECISION:
        rows, formed = torch.cat([rows, rows], dim=1), torch.cat([weight, formed], dim=0 if adjoint else 1)
    if bias is None:
        return rows @ turned(formed)
    return torch.addmm(bias.to(rows.dtype), rows, turned(formed))


def amplitude_grad(x: Tensor, g: Tensor, plan: Plan | BasisPlan) -> Tensor:
    """dL/da by way of G = g^T x from the rows x: (T, in) and g = dL/dy: (T, out). Returns (n,), at least float32."""
    return _forms(plan).amplitude_grad(wide_product(g.t(), x), plan)


def _forms(plan: Plan | BasisPlan) -> ModuleType:
    """The module with `delta_weight` and `amplitude_grad` for the plan's basis."""
    return spectral if isinstance(plan, Plan) else in_basis

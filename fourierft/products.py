"""Rows times W + delta_W, and the gradient of the coefficients, by the algorithm that was chosen, in any precision.

Coefficients, delta_W and G are float32, or float64 in a float64 model; no transform ever sees a narrower number. In
bfloat16 and float16 the sum W + delta_W would lose delta_W to the rounding of W. And y += x delta_W^T would lose the
change to that of y: what is less than half its last digit leaves it as it is, at every token alike. So one product of
twice the inner length, [x x] [W delta_W]^T, adds the two up before it rounds, or the change is added, by "tokens" or
"grid", to a float32 product. (In C to a bfloat16 one, and rounded up or down in proportion: see native.c.)
"""

from types import ModuleType

import torch
from torch import Tensor

from . import bases, spectral
from .choice import Algorithm
from .plan import BasisPlan, Plan
from .wide import LOW_PRECISION, wide_product


def form(
    c: Tensor, plan: Plan | BasisPlan, scale: float, weight: Tensor | None, algorithm: Algorithm, dtype: torch.dtype
) -> Tensor | None:
    """What the merged products take besides the weight: W + delta_W, in low precision (and of no weight) delta_W alone.

    weight: (out, in) or None. Returns (out, in) in `dtype`, that of the rows; None for the tokens and the grid, which
    form nothing.
    """
    if algorithm.forward in ("tokens", "grid"):
        return None
    base = None if dtype in LOW_PRECISION else weight
    if algorithm.forward == "fft" or isinstance(plan, BasisPlan):
        return delta_weight(c, plan, scale, base).to(dtype)
    from . import kernel  # needs Triton

    return kernel.delta_weight(c, plan, scale, base, dtype)


def delta_weight(c: Tensor, plan: Plan | BasisPlan, scale: float, base: Tensor | None = None) -> Tensor:
    """delta_W, or base + delta_W, in the plan's basis. c: (n,) float32 or float64. Returns (out, in) as c."""
    return _forms(plan).delta_weight(c, plan, scale, base)


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
    """rows (W + delta_W)^T + b, or, adjoint, rows (W + delta_W), with `formed` from `form`; where that is None, without
    delta_W, for the tokens or the grid to add to. rows: (T, in or out); wide: the dtype of the coefficients.

    Returns (T, out or in) in the dtype of the rows; of no weight, or to be added to, in at least float32.
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


def coefficient_grad(x: Tensor, g: Tensor, plan: Plan | BasisPlan, scale: float) -> Tensor:
    """dL/dc by G = g^T x from the rows x: (T, in) and g = dL/dy: (T, out). Returns (n,), at least float32."""
    return _forms(plan).coefficient_grad(wide_product(g.t(), x), plan, scale)


def _forms(plan: Plan | BasisPlan) -> ModuleType:
    """Where delta_W is formed, and G differentiated, in the plan's basis."""
    return spectral if isinstance(plan, Plan) else bases

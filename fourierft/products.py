"""Rows times W + delta_W, and the gradient of the coefficients, by the algorithm that was chosen, in any precision.

Coefficients, delta_W and G are float32, or float64 in a float64 model; no transform ever sees a narrower number. In
bfloat16 and float16 the sum W + delta_W would lose delta_W to the rounding of W, and x W^T + x delta_W^T to that of the
output. There one product of twice the inner length, [x x] [W delta_W]^T, adds the two up before it rounds, or the
branch is added to a float32 product.
"""

from types import ModuleType

import torch
from torch import Tensor

from . import dense, grid, parity, spectral, tokens
from .choice import Algorithm
from .plan import BasisPlan, Plan

LOW_PRECISION = (torch.bfloat16, torch.float16)


def form(
    c: Tensor, plan: Plan | BasisPlan, scale: float, weight: Tensor | None, algorithm: Algorithm, dtype: torch.dtype
) -> Tensor | None:
    """What the merged products take besides the weight: W + delta_W, in low precision (and of no weight) delta_W alone.

    weight: (out, in) or None. Returns (out, in) in `dtype`, that of the rows; None for the branch and the grid, which
    form nothing.
    """
    if algorithm.forward in ("branch", "grid"):
        return None
    base = None if dtype in LOW_PRECISION else weight
    if algorithm.forward == "kernel":
        from . import kernel

        return kernel.delta_weight(c, plan, scale, base, dtype)
    return delta_weight(c, plan, scale, base).to(dtype)


def delta_weight(c: Tensor, plan: Plan | BasisPlan, scale: float, base: Tensor | None = None) -> Tensor:
    """delta_W, or base + delta_W, in the plan's basis. c: (n,) float32 or float64. Returns (out, in) as c."""
    return _forms(plan).delta_weight(c, plan, scale, base)


def times(
    rows: Tensor,
    weight: Tensor | None,
    formed: Tensor | None,
    c: Tensor,
    plan: Plan | BasisPlan,
    scale: float,
    bias: Tensor | None = None,
    adjoint: bool = False,
    projected: Tensor | None = None,
) -> Tensor:
    """rows (W + delta_W)^T + b, or, adjoint, rows (W + delta_W), with `formed` from `form`. rows: (T, in or out);
    projected: of the grid's form, from `grid.project`.

    Returns (T, out or in) in the dtype of the rows; of no weight the change alone, in at least float32.
    """

    def turned(matrix: Tensor) -> Tensor:
        return matrix if adjoint else matrix.t()

    if formed is None:  # the branch, or the grid
        if weight is None:
            y = torch.zeros(len(rows), plan.shape[1 if adjoint else 0], dtype=c.dtype, device=rows.device)
        else:
            y = wide_product(rows, turned(weight))
        if bias is not None:
            y.add_(bias)
        if projected is None:
            tokens.add_change_(y, rows, c, plan, scale, adjoint)
        else:
            grid.add_change_(y, projected, c, plan, scale, adjoint)
        return y if weight is None else y.to(rows.dtype)
    if weight is None:
        return wide_product(rows, turned(formed))
    if rows.dtype in LOW_PRECISION:
        rows, formed = torch.cat([rows, rows], dim=1), torch.cat([weight, formed], dim=0 if adjoint else 1)
    if bias is None:
        return rows @ turned(formed)
    return torch.addmm(bias.to(rows.dtype), rows, turned(formed))


def coefficient_grad(
    x: Tensor, g: Tensor, plan: Plan | BasisPlan, scale: float, algorithm: Algorithm, dtype: torch.dtype
) -> Tensor:
    """dL/dc from the rows x: (T, in) and g = dL/dy: (T, out). Returns (n,) in `dtype`, float32 or float64."""
    if algorithm.gradient == "tokens":
        return tokens.coefficient_grad(x, g, plan, scale, dtype)
    if algorithm.gradient == "parity":
        return parity.coefficient_grad(x.to(dtype), g.to(dtype), plan, scale)
    return _forms(plan).coefficient_grad(wide_product(g.t(), x), plan, scale)


def _forms(plan: Plan | BasisPlan) -> ModuleType:
    """Where delta_W is formed, and G differentiated, in the plan's basis."""
    return spectral if isinstance(plan, Plan) else dense


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b with a result of at least float32, whatever the operands' dtype."""
    if a.dtype not in LOW_PRECISION:
        return a @ b
    if a.is_cuda:  # tensor cores take the narrow operands and give the wide result
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()

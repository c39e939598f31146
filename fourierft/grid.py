"""delta_W of positions on a grid, applied and differentiated by thin products: about the cost of LoRA.

Where the positions are a set U of a rows times a set V of b columns, the coefficients are a matrix C, (a, b), and with
the tables C1, S1 (a, d1) of cos and sin(2 pi u p / d1), and C2, S2 (b, d2) of cos and sin(2 pi v q / d2),

    delta_W = s (C1^T C C2 - S1^T C S2),   s = scale / (d1 d2)

    x delta_W^T = s (x C2^T C^T C1 - x S2^T C^T S1)
    dC          = s ((g C1^T)^T (x C2^T) - (g S1^T)^T (x S2^T))

Of x the backward pass needs its projection alone, 2 b numbers a token instead of d2. The price: delta_W has a rank of
at most 2 min(a, b).
"""

import torch
from torch import Tensor

from .plan import Plan


def project(x: Tensor, plan: Plan, dtype: torch.dtype, adjoint: bool = False) -> Tensor:
    """x [C2 S2]^T of the rows x: (T, in), or, adjoint, x [C1 S1]^T of (T, out). Returns (T, 2 b), or (T, 2 a)."""
    return x.to(dtype) @ _tables(plan, dtype)[0 if adjoint else 1].t()


def add_change_(y: Tensor, projected: Tensor, c: Tensor, plan: Plan, scale: float, adjoint: bool = False) -> Tensor:
    """y += x delta_W^T, or, adjoint, x delta_W, of `projected` from `project`. y: (T, out or in). Returns y."""
    matrix = _matrix(c, plan, scale)
    matrix = matrix if adjoint else matrix.t()
    cosines, sines = projected.chunk(2, dim=1)
    table = _tables(plan, c.dtype)[1 if adjoint else 0]
    return y.addmm_(torch.cat([cosines @ matrix, -(sines @ matrix)], dim=1), table)


def coefficient_grad(x: Tensor, g: Tensor, plan: Plan, scale: float) -> Tensor:
    """dL/dc from the projections of x: (T, 2 b) and of g = dL/dy: (T, 2 a). Returns (n,) in their dtype."""
    (x_cos, x_sin), (g_cos, g_sin) = x.chunk(2, dim=1), g.chunk(2, dim=1)
    return _matrix(g_cos.t() @ x_cos - g_sin.t() @ x_sin, plan, scale).flatten()


def _matrix(c: Tensor, plan: Plan, scale: float) -> Tensor:
    return c.view(plan.grid) * (scale / (plan.shape[0] * plan.shape[1]))


def _tables(plan: Plan, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """[C1 S1], (2 a, d1), and [C2 S2], (2 b, d2): 8 (a d1 + b d2) bytes in float32, made once for all layers."""
    if dtype not in plan.grid_tables:
        rows, columns = (plan.sign.long() * plan.u).view(plan.grid)[:, 0], plan.v.view(plan.grid)[0]
        plan.grid_tables[dtype] = tuple(
            _table(frequencies, length).to(dtype)
            for frequencies, length in zip((rows, columns), plan.shape, strict=True)
        )
    return plan.grid_tables[dtype]


def _table(frequencies: Tensor, length: int) -> Tensor:
    places = torch.arange(length, device=frequencies.device)
    angle = (frequencies[:, None] * places % length).double() * (2 * torch.pi / length)
    return torch.cat([angle.cos(), angle.sin()])

"""delta_W of positions on a grid, applied and differentiated by thin products, at about the cost of LoRA.

If the positions are all pairs of a rows u and b columns v, the amplitudes are a matrix A, (a, b). With tables C1, S1,
(a, d1), of cos and sin(2 pi u p / d1), and C2, S2, (b, d2), of cos and sin(2 pi v q / d2),

    delta_W     = C1^T A C2 - S1^T A S2
    x delta_W^T = x C2^T A^T C1 - x S2^T A^T S1
    dA          = (g C1^T)^T (x C2^T) - (g S1^T)^T (x S2^T)

The table of the columns is [C2 -S2], whose sign makes these differences sums. The backward pass needs only the
projection of x, 2 b numbers per token instead of d2. The price: the rank of delta_W is at most 2 min(a, b).

For rows of low precision a GPU computes these products on tensor cores, with a float32 result. A table T is then the
sum of two tables in low precision, T = T' + T'', and so is the float32 matrix that multiplies it last, m = m' + m'':

    x T^T = x T'^T + x T''^T,   m T = m' T' + m'' T' + m' T''

The relative error is about 5e-6.
"""

import torch
from torch import Tensor

from .plan import Plan, waves
from .wide import LOW_PRECISION, on_tensor_cores, two_terms, wide_product


def project(x: Tensor, plan: Plan, dtype: torch.dtype, adjoint: bool = False) -> Tensor:
    """x [C2 -S2]^T, (T, 2 b), for rows x: (T, in); or, adjoint, x [C1 S1]^T, (T, 2 a), for x: (T, out)."""
    side = 0 if adjoint else 1
    if on_tensor_cores(x.device, x.dtype):
        high, low = wide_product(x, _tables(plan, x.dtype)[side].t()).chunk(2, dim=1)
        return (high + low).to(dtype)
    return x.to(dtype) @ _tables(plan, dtype)[side].t()


def add_change_(
    y: Tensor, projected: Tensor, a: Tensor, plan: Plan, adjoint: bool = False, rows: torch.dtype = torch.float32
) -> Tensor:
    """y += x delta_W^T, or, adjoint, x delta_W, from `projected`, see `project`. y: (T, out or in), at least float32.

    a: (n,), or (rows, n), each for the next T / rows tokens. rows: dtype of x, to which y will be rounded. Returns y.
    """
    matrix = a.view(-1, *plan.grid) if adjoint else a.view(-1, *plan.grid).mT
    halves = projected.reshape(len(matrix), 2 * len(y) // len(matrix), matrix.shape[1])  # cosines, sines by turns
    core, side = (halves @ matrix).view(len(y), 2 * matrix.shape[2]), 1 if adjoint else 0
    if on_tensor_cores(y.device, rows):
        high, low = two_terms(core, torch.bfloat16)  # for float16 rows too: bfloat16 has the range of float32
        table_high, table_low = _tables(plan, torch.bfloat16)[side].chunk(2)
        core, table = torch.cat([high, low, high], dim=1), torch.cat([table_high, table_high, table_low])
        return y.add_(wide_product(core, table))
    return y.addmm_(core, _tables(plan, a.dtype)[side])


def amplitude_grad(x: Tensor, g: Tensor) -> Tensor:
    """dL/da from the projections of x, (T, 2 b), and of g = dL/dy, (T, 2 a). Returns (n,) in their dtype."""
    (x_cos, x_sin), (g_cos, g_sin) = x.chunk(2, dim=1), g.chunk(2, dim=1)
    return (g_cos.t() @ x_cos + g_sin.t() @ x_sin).flatten()


def _tables(plan: Plan, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """[C1 S1], (2 a, d1), and [C2 -S2], (2 b, d2); in low precision both terms of each, (4 a, d1) and (4 b, d2).

    8 (a d1 + b d2) bytes in float32 or low precision, shared by all layers.
    """

    def make() -> tuple[Tensor, ...]:
        (u, v), b = plan.frequencies, plan.grid[1]
        sides = zip((u[::b], v[:b]), plan.shape, strict=True)
        exact = [waves(f, d, d).transpose(0, 1).flatten(0, 1) for f, d in sides]
        exact[1][b:].neg_()
        return tuple(
            torch.cat(two_terms(table, dtype)) if dtype in LOW_PRECISION else table.to(dtype) for table in exact
        )

    return plan.table(("grid", dtype), make)

"""delta_W applied and differentiated without being formed: one Fourier transform for each token, over its features.

With X = rfft(x), the change of the output has n terms a token, and so has the gradient (s, u, v, sign as in `plan.py`):

    x delta_W^T = irfft(Y),   Y[u_k] += s share_k c_k (Re X[v_k] - i sign_k Im X[v_k])
    dc_k        = s sum_t (Re X[v_k] Re G[u_k] - sign_k Im X[v_k] Im G[u_k]),   G = rfft(g)

The cost is of T (d1 + d2 + n), where the forms of `spectral.py` take d1 d2 and the products with W take T d1 d2. On a
CPU all of it runs in C where that can be compiled (`native.py`).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from . import native
from .plan import Plan
from .spectral import own_mirrors

# Numbers in flight: on a CPU what its caches hold, on a GPU as many as fill it, some 100 MB.
NUMBERS = {"cpu": 2**20, "cuda": 2**25}


def add_change_(
    y: Tensor, x: Tensor, c: Tensor, plan: Plan, scale: float, adjoint: bool = False, compiled: bool = False
) -> Tensor:
    """y += x delta_W^T, or, adjoint, x delta_W. y: (T, out) and x: (T, in), or adjoint the other way round; any dtype.

    c: (n,) float32 or float64, whose dtype the transforms have. compiled: by C, of a plan that is `native`, with c in
    float32. Returns y.
    """
    source, target = (plan.u, plan.v) if adjoint else (plan.v, plan.u)
    factor = _factor(c, plan, scale, adjoint)
    if compiled:
        native.through_spectrum(x, source, target, plan.sign, factor, y)
        return y
    for some_y, some_x in _some_at_a_time(plan, y, x):
        _add(some_y, _bins(some_x, c.dtype).index_select(0, source), target, factor, plan)
    return y


def backward_(
    x: Tensor,
    g: Tensor,
    plan: Plan,
    scale: float,
    dtype: torch.dtype,
    into: tuple[Tensor, Tensor] | None = None,
    compiled: bool = False,
) -> Tensor:
    """dL/dc from x: (T, in) and g = dL/dy: (T, out), of any dtype; and, of `into` = (grad_x, c), grad_x += g delta_W.

    grad_x: (T, in); c, compiled: as above; g is transformed once for both. Returns (n,) in `dtype`, that of c.
    """
    unit = scale / (plan.shape[0] * plan.shape[1])
    grad_x, factor = (None, None) if into is None else (into[0], _factor(into[1], plan, scale, adjoint=True))
    if compiled:
        return native.through_spectrum(g, plan.u, plan.v, plan.sign, factor, grad_x, x).mul_(unit).to(dtype)
    total = torch.zeros(plan.n, 2, dtype=dtype, device=x.device)
    for some_x, some_g, some_grad_x in _some_at_a_time(plan, x, g, x if grad_x is None else grad_x):
        picked = _bins(some_g, dtype).index_select(0, plan.u)
        if grad_x is not None:
            _add(some_grad_x, picked, plan.v, factor, plan)
        total += _bins(some_x, dtype).index_select(0, plan.v).mul_(picked).sum(2)
    return (total[:, 0] - plan.sign.to(dtype) * total[:, 1]) * unit


def _factor(c: Tensor, plan: Plan, scale: float, adjoint: bool) -> Tensor:
    share = plan.v_share if adjoint else plan.u_share
    return c * share.to(c.dtype) * (scale / (plan.shape[0] * plan.shape[1]))


def _add(y: Tensor, picked: Tensor, target: Tensor, factor: Tensor, plan: Plan) -> None:
    """y += the change, of the entries' bins of x, `picked`: (n, 2, T)."""
    length = y.shape[1]
    factors = torch.stack([factor, -factor * plan.sign.to(factor.dtype)], dim=1)[:, :, None]
    bins = picked.new_zeros(length // 2 + 1, 2, picked.shape[2]).index_add_(0, target, picked * factors)
    bins[own_mirrors(length), 1] = 0.0
    numbers = bins.flatten(0, 1).t().contiguous().view(-1, length // 2 + 1, 2)
    y += torch.fft.irfft(torch.view_as_complex(numbers), n=length, dim=1, norm="forward")


def _bins(x: Tensor, dtype: torch.dtype) -> Tensor:
    """rfft of each row of x: (T, d), as (d // 2 + 1, 2, T): a frequency's real and imaginary parts lie side by side."""
    numbers = torch.view_as_real(torch.fft.rfft(x.to(dtype), dim=1)).flatten(1)
    return numbers.t().contiguous().view(x.shape[1] // 2 + 1, 2, -1)


def _some_at_a_time(plan: Plan, *rows: Tensor) -> Iterable[tuple[Tensor, ...]]:
    if len(rows[0]) == 0:  # of which split would make one empty part, and not every version of torch transforms that
        return ()
    step = max(1, NUMBERS.get(rows[0].device.type, NUMBERS["cpu"]) // (sum(plan.shape) + 2 * plan.n))
    return zip(*(part.split(step) for part in rows), strict=True)

"""delta_W applied and differentiated without being formed: one Fourier transform for each token, over its features.

With X = rfft(x), the change of the output has n terms a token, and so has the gradient (s, u, v, sign as in `plan.py`):

    x delta_W^T = irfft(Y),   Y[u_k] += s share_k c_k (Re X[v_k] - i sign_k Im X[v_k])
    dc_k        = s sum_t (Re X[v_k] Re G[u_k] - sign_k Im X[v_k] Im G[u_k]),   G = rfft(g)

The cost is of T (d1 + d2 + n), where the forms of `spectral.py` take d1 d2 and the products with W take T d1 d2.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from .plan import Plan
from .spectral import own_mirrors

# Numbers in flight: on a CPU what its caches hold, on a GPU as many as fill it, some 100 MB.
NUMBERS = {"cpu": 2**20, "cuda": 2**25}


def add_change_(y: Tensor, x: Tensor, c: Tensor, plan: Plan, scale: float, adjoint: bool = False) -> Tensor:
    """y += x delta_W^T, or, adjoint, x delta_W. y: (T, out) and x: (T, in), or adjoint the other way round; any dtype.

    c: (n,) float32 or float64, whose dtype the transforms have. Returns y.
    """
    source, target, share = (plan.u, plan.v, plan.v_share) if adjoint else (plan.v, plan.u, plan.u_share)
    factor = c * share.to(c.dtype) * (scale / (plan.shape[0] * plan.shape[1]))
    factors = torch.stack([factor, -factor * plan.sign.to(c.dtype)], dim=1)[:, :, None]
    length = y.shape[1]
    for some_y, some_x in _some_at_a_time(y, x, plan):
        picked = _bins(some_x, c.dtype).index_select(0, source) * factors
        bins = picked.new_zeros(length // 2 + 1, 2, picked.shape[2]).index_add_(0, target, picked)
        bins[own_mirrors(length), 1] = 0.0
        numbers = bins.flatten(0, 1).t().contiguous().view(-1, length // 2 + 1, 2)
        some_y += torch.fft.irfft(torch.view_as_complex(numbers), n=length, dim=1, norm="forward")
    return y


def coefficient_grad(x: Tensor, g: Tensor, plan: Plan, scale: float, dtype: torch.dtype) -> Tensor:
    """dL/dc from x: (T, in) and g = dL/dy: (T, out), of any dtype. Returns (n,) in `dtype`, float32 or float64."""
    total = torch.zeros(plan.n, 2, dtype=dtype, device=x.device)
    for some_x, some_g in _some_at_a_time(x, g, plan):
        picked = _bins(some_x, dtype).index_select(0, plan.v)
        total += picked.mul_(_bins(some_g, dtype).index_select(0, plan.u)).sum(2)
    return (total[:, 0] - plan.sign.to(dtype) * total[:, 1]) * (scale / (plan.shape[0] * plan.shape[1]))


def _bins(x: Tensor, dtype: torch.dtype) -> Tensor:
    """rfft of each row of x: (T, d), as (d // 2 + 1, 2, T): a frequency's real and imaginary parts lie side by side."""
    numbers = torch.view_as_real(torch.fft.rfft(x.to(dtype), dim=1)).flatten(1)
    return numbers.t().contiguous().view(x.shape[1] // 2 + 1, 2, -1)


def _some_at_a_time(a: Tensor, b: Tensor, plan: Plan) -> Iterable[tuple[Tensor, Tensor]]:
    if len(a) == 0:  # of which split would make one empty part, and not every version of torch transforms that
        return ()
    step = max(1, NUMBERS.get(a.device.type, NUMBERS["cpu"]) // (sum(plan.shape) + 2 * plan.n))
    return zip(a.split(step), b.split(step), strict=True)

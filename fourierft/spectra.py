"""The products of spectra that `tokens.py` takes, by torch alone, for any dtype and device.

With X = rfft(x) and G = rfft(g) of the rows of a token each, (T, in // 2 + 1) and (T, out // 2 + 1) complex, they are

    dc_k / s    = sum_t (Re X[t, v_k] Re G[t, u_k] - sign_k Im X[t, v_k] Im G[t, u_k])
    Y[t, u]     = sum over the k of u_k = u of f_k (Re X[t, v_k] - i sign_k Im X[t, v_k])

torch gathers rows of a matrix far faster than columns, so that a frequency has to be a row: two transposed copies.
"""

import torch
from torch import Tensor

from .plan import Plan
from .spectral import own_mirrors


def sampled_product(x: Tensor, g: Tensor, plan: Plan) -> Tensor:
    """dL/dc without s, (n,) real, from the spectra x: (T, in // 2 + 1) and g: (T, out // 2 + 1)."""
    total = _bins(x).index_select(0, plan.v).mul_(_bins(g).index_select(0, plan.u)).sum(2)
    return total[:, 0] - plan.sign.to(total.dtype) * total[:, 1]


def change(x: Tensor, c: Tensor, plan: Plan, scale: float, adjoint: bool = False) -> Tensor:
    """Y, (T, out // 2 + 1), of which irfft(Y, out, norm="forward") is x delta_W^T; or, adjoint, of x delta_W.

    x: (T, in // 2 + 1), or adjoint (T, out // 2 + 1), complex; c: (n,) of its precision.
    """
    source, target = (plan.u, plan.v) if adjoint else (plan.v, plan.u)
    length = plan.shape[1 if adjoint else 0]
    f = factor(c, plan, scale, adjoint)
    picked = _bins(x).index_select(0, source).mul_(torch.stack([f, -f * plan.sign.to(f.dtype)], dim=1)[:, :, None])
    bins = picked.new_zeros(length // 2 + 1, 2, len(x)).index_add_(0, target, picked)
    bins[own_mirrors(length), 1] = 0.0  # not every backend's irfft ignores it
    return torch.view_as_complex(bins.flatten(0, 1).t().contiguous().view(len(x), -1, 2))


def factor(c: Tensor, plan: Plan, scale: float, adjoint: bool) -> Tensor:
    """f: (n,) as c, with the share of an entry that a half spectrum holds."""
    share = plan.v_share if adjoint else plan.u_share
    return c * share.to(c.dtype) * (scale / (plan.shape[0] * plan.shape[1]))


def _bins(x: Tensor) -> Tensor:
    """(T, h) complex as (h, 2, T): a frequency's real and imaginary parts lie side by side."""
    return torch.view_as_real(x).flatten(1).t().contiguous().view(x.shape[1], 2, -1)

"""delta_W applied and differentiated without being formed: one Fourier transform per token, over its features.

With X = rfft(x), (T, in // 2 + 1), G = rfft(g), (T, out // 2 + 1), f_k = share_k a_k, and a, u, v, sign and share as in
`plan.py`,

    x delta_W^T = irfft(Y),   Y[t, u] = sum over all k with u_k = u of f_k (Re X[t, v_k] - i sign_k Im X[t, v_k])
    da_k        = sum_t (Re X[t, v_k] Re G[t, u_k] - sign_k Im X[t, v_k] Im G[t, u_k])

The work is T (d1 + d2 + n), against d1 d2 in `spectral.py` and T d1 d2 in the products with W. On a CPU all of it runs
in C if that can be compiled (`native.py`). Otherwise torch computes the transforms, and Triton kernels on a GPU
(`kernel_tokens.py`), or torch, the products of the spectra.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from . import native
from .plan import Plan
from .spectral import own_mirrors

# Numbers processed at a time: as many as a CPU's cache holds, or as keep a GPU busy (about 100 MB).
NUMBERS = {"cpu": 2**20, "cuda": 2**25}


def add_change_(y: Tensor, x: Tensor, a: Tensor, plan: Plan, adjoint: bool = False, compiled: bool = False) -> Tensor:
    """y += x delta_W^T, or, adjoint, x delta_W. y: (T, out), x: (T, in), or adjoint the other way round; of any dtype.

    a: (n,), or (rows, n), each for the next T / rows tokens; float32 or float64, also the dtype of the transforms.
    compiled: use C, if the plan is `native`, or Triton on a GPU; a is then float32. Returns y.
    """
    f = factor(a, plan, adjoint)
    if compiled and plan.native:
        source, target = (plan.u, plan.v) if adjoint else (plan.v, plan.u)
        native.through_spectrum(x, source, target, plan.sign, f, y)
        return y
    _, change = _products(compiled and a.dim() == 1)
    owner = torch.arange(len(x), device=x.device) // max(1, len(x) // len(f)) if a.dim() > 1 else x
    for some_y, some_x, whose in _some_at_a_time(plan, y, x, owner):
        some_f = f[whose] if a.dim() > 1 else f
        bins = change(torch.fft.rfft(some_x.to(a.dtype)), some_f, plan, adjoint)
        some_y += torch.fft.irfft(bins, n=y.shape[1], norm="forward")
    return y


def backward_(
    x: Tensor,
    g: Tensor,
    plan: Plan,
    dtype: torch.dtype,
    into: tuple[Tensor, Tensor] | None = None,
    compiled: bool = False,
) -> Tensor:
    """dL/da from x: (T, in) and g = dL/dy: (T, out), of any dtype. With into=(grad_x, a) also grad_x += g delta_W.

    grad_x: (T, in); a, compiled: as above; g is transformed once for both. Returns (n,) in `dtype`, that of a.
    """
    grad_x, f = (None, None) if into is None else (into[0], factor(into[1], plan, adjoint=True))
    if compiled and plan.native:
        return native.through_spectrum(g, plan.u, plan.v, plan.sign, f, grad_x, x).to(dtype)
    sampled_product, change = _products(compiled)
    total = torch.zeros(plan.n, dtype=dtype, device=x.device)
    for some_x, some_g, some_grad_x in _some_at_a_time(plan, x, g, x if grad_x is None else grad_x):
        bins = torch.fft.rfft(some_g.to(dtype))
        total += sampled_product(torch.fft.rfft(some_x.to(dtype)), bins, plan)
        if f is not None:
            bins = change(bins, f, plan, adjoint=True)
            some_grad_x += torch.fft.irfft(bins, n=x.shape[1], norm="forward")
    return total


def factor(a: Tensor, plan: Plan, adjoint: bool) -> Tensor:
    """f, of the shape and dtype of a."""
    share = plan.v_share if adjoint else plan.u_share
    return a * share.to(a.dtype)


def _sampled_product(x: Tensor, g: Tensor, plan: Plan) -> Tensor:
    """dL/da, (n,) real, from the spectra x: (T, in // 2 + 1) and g: (T, out // 2 + 1)."""
    total = _bins(x).index_select(0, plan.v).mul_(_bins(g).index_select(0, plan.u)).sum(2)
    return total[:, 0] - plan.sign.to(total.dtype) * total[:, 1]


def _change(x: Tensor, f: Tensor, plan: Plan, adjoint: bool = False) -> Tensor:
    """Y, (T, out // 2 + 1), such that irfft(Y, out, norm="forward") is x delta_W^T, or, adjoint, x delta_W.

    x: its spectrum, (T, in // 2 + 1), or adjoint (T, out // 2 + 1); f: (n,), or (T, n), of the same precision, from
    `factor`.
    """
    source, target = (plan.u, plan.v) if adjoint else (plan.v, plan.u)
    length = plan.shape[1 if adjoint else 0]
    factors = torch.stack([f, -f * plan.sign.to(f.dtype)]).view(2, -1, plan.n).transpose(0, 2).transpose(1, 2)
    picked = _bins(x).index_select(0, source).mul_(factors)  # (n, 2, T)
    bins = picked.new_zeros(length // 2 + 1, 2, len(x)).index_add_(0, target, picked)
    bins[own_mirrors(length), 1] = 0.0  # which not every backend's irfft ignores
    return torch.view_as_complex(bins.flatten(0, 1).t().contiguous().view(len(x), -1, 2))


def _bins(x: Tensor) -> Tensor:
    """(T, h) complex as (h, 2, T) real: a transposed copy, since torch gathers rows far faster than columns."""
    return torch.view_as_real(x).flatten(1).t().contiguous().view(x.shape[1], 2, -1)


def _products(compiled: bool) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """The functions that compute `_sampled_product` and `_change`."""
    if not compiled or torch.compiler.is_compiling():  # torch.compile makes kernels of its own
        return _sampled_product, _change
    from . import kernel_tokens  # needs Triton

    return kernel_tokens.sampled_product, kernel_tokens.change


def _some_at_a_time(plan: Plan, *rows: Tensor) -> Iterable[tuple[Tensor, ...]]:
    if len(rows[0]) == 0:  # not every version of torch can transform an empty tensor
        return ()
    step = max(1, NUMBERS.get(rows[0].device.type, NUMBERS["cpu"]) // (sum(plan.shape) + 2 * plan.n))
    return zip(*(part.split(step) for part in rows), strict=True)

"""delta_W applied and differentiated without being formed: one Fourier transform for each token, over its features.

With X = rfft(x), (T, in // 2 + 1), the change of the output has n terms a token, and so has the gradient (s, u, v, sign
and share as in `plan.py`):

    x delta_W^T = irfft(Y),   Y[t, u] = sum over the k of u_k = u of f_k (Re X[t, v_k] - i sign_k Im X[t, v_k])
    dc_k        = s sum_t (Re X[t, v_k] Re G[t, u_k] - sign_k Im X[t, v_k] Im G[t, u_k]),   f_k = s share_k c_k

with G = rfft(g). The cost is of T (d1 + d2 + n), where the forms of `spectral.py` take d1 d2 and the products with W
take T d1 d2. On a CPU all of it runs in C where that can be compiled (`native.py`); elsewhere torch transforms, and the
products of the spectra are Triton kernels on a GPU (`kernel_tokens.py`), or torch's too.
"""

from collections.abc import Callable, Iterable

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

    c: (n,) float32 or float64, whose dtype the transforms have. compiled: in C of a plan that is `native`, or by Triton
    on a GPU, with c in float32. Returns y.
    """
    f = factor(c, plan, scale, adjoint)
    if compiled and plan.native:
        source, target = (plan.u, plan.v) if adjoint else (plan.v, plan.u)
        native.through_spectrum(x, source, target, plan.sign, f, y)
        return y
    _, change = _products(compiled)
    for some_y, some_x in _some_at_a_time(plan, y, x):
        bins = change(torch.fft.rfft(some_x.to(c.dtype)), f, plan, adjoint)
        some_y += torch.fft.irfft(bins, n=y.shape[1], norm="forward")
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
    grad_x, f = (None, None) if into is None else (into[0], factor(into[1], plan, scale, adjoint=True))
    if compiled and plan.native:
        total = native.through_spectrum(g, plan.u, plan.v, plan.sign, f, grad_x, x)
        return total.mul_(plan.unit(scale)).to(dtype)
    sampled_product, change = _products(compiled)
    total = torch.zeros(plan.n, dtype=dtype, device=x.device)
    for some_x, some_g, some_grad_x in _some_at_a_time(plan, x, g, x if grad_x is None else grad_x):
        bins = torch.fft.rfft(some_g.to(dtype))
        total += sampled_product(torch.fft.rfft(some_x.to(dtype)), bins, plan)
        if f is not None:
            bins = change(bins, f, plan, adjoint=True)
            some_grad_x += torch.fft.irfft(bins, n=x.shape[1], norm="forward")
    return total * plan.unit(scale)


def factor(c: Tensor, plan: Plan, scale: float, adjoint: bool) -> Tensor:
    """f: (n,) as c, with the share of an entry that a half spectrum holds."""
    share = plan.v_share if adjoint else plan.u_share
    return c * share.to(c.dtype) * plan.unit(scale)


def _sampled_product(x: Tensor, g: Tensor, plan: Plan) -> Tensor:
    """dL/dc without s, (n,) real, from the spectra x: (T, in // 2 + 1) and g: (T, out // 2 + 1)."""
    total = _bins(x).index_select(0, plan.v).mul_(_bins(g).index_select(0, plan.u)).sum(2)
    return total[:, 0] - plan.sign.to(total.dtype) * total[:, 1]


def _change(x: Tensor, f: Tensor, plan: Plan, adjoint: bool = False) -> Tensor:
    """Y, (T, out // 2 + 1), of which irfft(Y, out, norm="forward") is x delta_W^T; or, adjoint, of x delta_W.

    x: (T, in // 2 + 1), or adjoint (T, out // 2 + 1), complex; f: (n,) of its precision, from `factor`.
    """
    source, target = (plan.u, plan.v) if adjoint else (plan.v, plan.u)
    length = plan.shape[1 if adjoint else 0]
    picked = _bins(x).index_select(0, source).mul_(torch.stack([f, -f * plan.sign.to(f.dtype)], dim=1)[:, :, None])
    bins = picked.new_zeros(length // 2 + 1, 2, len(x)).index_add_(0, target, picked)
    bins[own_mirrors(length), 1] = 0.0  # not every backend's irfft ignores it
    return torch.view_as_complex(bins.flatten(0, 1).t().contiguous().view(len(x), -1, 2))


def _bins(x: Tensor) -> Tensor:
    """(T, h) complex as (h, 2, T): a frequency's real and imaginary parts lie side by side.

    torch gathers rows of a matrix far faster than columns, so that a frequency has to be a row: a transposed copy.
    """
    return torch.view_as_real(x).flatten(1).t().contiguous().view(x.shape[1], 2, -1)


def _products(compiled: bool) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """What multiplies two spectra, and what spreads one."""
    if not compiled or torch.compiler.is_compiling():  # what torch.compile then makes of them has no need of ours
        return _sampled_product, _change
    from . import kernel_tokens  # needs Triton

    return kernel_tokens.sampled_product, kernel_tokens.change


def _some_at_a_time(plan: Plan, *rows: Tensor) -> Iterable[tuple[Tensor, ...]]:
    if len(rows[0]) == 0:  # of which split would make one empty part, and not every version of torch transforms that
        return ()
    step = max(1, NUMBERS.get(rows[0].device.type, NUMBERS["cpu"]) // (sum(plan.shape) + 2 * plan.n))
    return zip(*(part.split(step) for part in rows), strict=True)

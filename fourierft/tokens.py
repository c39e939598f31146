"""delta_W applied and differentiated without being formed: one Fourier transform for each token, over its features.

With X = rfft(x), the change of the output has n terms a token, and so has the gradient (s, u, v, sign as in `plan.py`):

    x delta_W^T = irfft(Y),   Y[u_k] += s share_k c_k (Re X[v_k] - i sign_k Im X[v_k])
    dc_k        = s sum_t (Re X[v_k] Re G[u_k] - sign_k Im X[v_k] Im G[u_k]),   G = rfft(g)

The cost is of T (d1 + d2 + n), where the forms of `spectral.py` take d1 d2 and the products with W take T d1 d2. On a
CPU all of it runs in C where that can be compiled (`native.py`); elsewhere torch transforms, and the products of the
spectra are Triton kernels on a GPU (`kernel_tokens.py`), or torch's too (`spectra.py`).
"""

from collections.abc import Iterable
from types import ModuleType

import torch
from torch import Tensor

from . import native, spectra
from .plan import Plan

# Numbers in flight: on a CPU what its caches hold, on a GPU as many as fill it, some 100 MB.
NUMBERS = {"cpu": 2**20, "cuda": 2**25}


def add_change_(
    y: Tensor, x: Tensor, c: Tensor, plan: Plan, scale: float, adjoint: bool = False, compiled: bool = False
) -> Tensor:
    """y += x delta_W^T, or, adjoint, x delta_W. y: (T, out) and x: (T, in), or adjoint the other way round; any dtype.

    c: (n,) float32 or float64, whose dtype the transforms have. compiled: in C of a plan that is `native`, or by Triton
    on a GPU, with c in float32. Returns y.
    """
    if compiled and plan.native:
        source, target = (plan.u, plan.v) if adjoint else (plan.v, plan.u)
        native.through_spectrum(x, source, target, plan.sign, spectra.factor(c, plan, scale, adjoint), y)
        return y
    products = _products(compiled)
    for some_y, some_x in _some_at_a_time(plan, y, x):
        bins = products.change(torch.fft.rfft(some_x.to(c.dtype)), c, plan, scale, adjoint)
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
    grad_x, c = into or (None, None)
    unit = scale / (plan.shape[0] * plan.shape[1])
    if compiled and plan.native:
        factor = None if c is None else spectra.factor(c, plan, scale, adjoint=True)
        return native.through_spectrum(g, plan.u, plan.v, plan.sign, factor, grad_x, x).mul_(unit).to(dtype)
    products, total = _products(compiled), torch.zeros(plan.n, dtype=dtype, device=x.device)
    for some_x, some_g, some_grad_x in _some_at_a_time(plan, x, g, x if grad_x is None else grad_x):
        bins = torch.fft.rfft(some_g.to(dtype))
        total += products.sampled_product(torch.fft.rfft(some_x.to(dtype)), bins, plan)
        if grad_x is not None:
            bins = products.change(bins, c, plan, scale, adjoint=True)
            some_grad_x += torch.fft.irfft(bins, n=grad_x.shape[1], norm="forward")
    return total * unit


def _products(compiled: bool) -> ModuleType:
    if not compiled or torch.compiler.is_compiling():  # what torch.compile then makes of them has no need of ours
        return spectra
    from . import kernel_tokens  # needs Triton

    return kernel_tokens


def _some_at_a_time(plan: Plan, *rows: Tensor) -> Iterable[tuple[Tensor, ...]]:
    if len(rows[0]) == 0:  # of which split would make one empty part, and not every version of torch transforms that
        return ()
    step = max(1, NUMBERS.get(rows[0].device.type, NUMBERS["cpu"]) // (sum(plan.shape) + 2 * plan.n))
    return zip(*(part.split(step) for part in rows), strict=True)

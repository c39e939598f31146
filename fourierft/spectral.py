"""delta_W, and the gradient from G = dL/d(delta_W), by real half transforms: a quarter of a complex FFT's arithmetic.

Two symmetries of the sum of cosines (`plan.py`) each halve the work.
- (u, v) and (-u, -v) give the same cosine: a half spectrum, the columns v in [0, d2/2], holds all coefficients.
- delta_W is equal at (p, q) and (-p, -q): only the rows p in [0, d1/2] are computed, the others are mirrored.

The gradient is the adjoint, of the same form with (p, q) and (u, v) exchanged:

    da_k = sum_pq G[p, q] cos(2 pi (sign_k u_k p / d1 + v_k q / d2))

It depends only on the point-symmetric part of G, which half of its rows determine. Both use one half transform.
"""

import torch
from torch import Tensor

from .plan import Plan


def delta_weight(a: Tensor, plan: Plan, base: Tensor | None = None) -> Tensor:
    """delta_W, or base + delta_W. a: (n,) float32 or float64; base: (out, in), of any dtype. Returns (out, in) as a."""
    d1, d2 = plan.shape
    h1, h2 = d1 // 2 + 1, d2 // 2 + 1
    # Mirrored positions share a slot: add, never assign.
    half = a.new_zeros(h2 * d1).index_add_(0, plan.slots, a * plan.v_share.to(a.dtype))
    upper = _half_transform(half.view(h2, d1), d2)  # the rows p in [0, d1/2]
    partners = upper[1 : d1 - h1 + 1]
    first, others = partners[:, :1].flip(0), partners[:, 1:].flip(0, 1)  # mirrored, the rows below
    if base is None:
        return torch.cat([upper, torch.cat([first, others], dim=1)])
    total = base.to(a.dtype, copy=True, memory_format=torch.contiguous_format)
    total[:h1].add_(upper)
    total[h1:, :1].add_(first)
    total[h1:, 1:].add_(others)
    return total


def amplitude_grad(grad: Tensor, plan: Plan) -> Tensor:
    """dL/da from grad = dL/d(delta_W), (out, in) float32 or float64. Returns (n,) in the dtype of grad."""
    h1 = plan.shape[0] // 2 + 1
    folded = grad[:h1].clone(memory_format=torch.contiguous_format)  # rows p in [0, d1/2] of the point-symmetric part
    partners = folded[1 : plan.shape[0] - h1 + 1]
    partners[:, 0] += grad[h1:, 0].flip(0)
    partners[:, 1:] += grad[h1:, 1:].flip(0, 1)
    partners *= 0.5  # the inverse transform counts these rows twice
    return _half_transform(folded, plan.shape[0]).flatten()[plan.slots]


def own_mirrors(length: int) -> slice:
    """The frequencies of a half spectrum that are their own mirrors: 0, and length / 2 of an even length."""
    return slice(None, None, length // 2 if length % 2 == 0 else length)


def _half_transform(x: Tensor, length: int) -> Tensor:
    """y[j, m] = sum_ik w_i x[i, k] cos(2 pi (i m / length - j k / columns)), w_i = 1 if i is its own mirror, else 2.

    x: (h(length), columns), real, with h(d) = d // 2 + 1. Returns (h(columns), length). A real FFT along the rows, then
    an inverse real FFT along the columns. For the latter the rows that are their own mirrors must be real, which not
    every backend takes for granted.
    """
    spectrum = torch.fft.rfft(x, dim=1)
    spectrum[own_mirrors(length)].imag.zero_()
    return torch.fft.irfft(spectrum.t(), n=length, dim=1, norm="forward")

"""delta_W and the coefficient gradient by real half transforms: exact, and a quarter of a complex FFT's arithmetic.

With d1 = out, d2 = in and h(d) = d // 2 + 1, delta_W is a sum of cosines, one for each coefficient:

    delta_W[p, q] = scale / (d1 d2) * sum_k c_k cos(2 pi (u_k p / d1 + v_k q / d2))                                  (A)

Two symmetries of the cosine each halve the work.
- (u, v) and (-u, -v) give the same cosine. So every entry moves to a column v in [0, d2/2]: half a spectrum.
- (p, q) and (-p, -q) see the same value. So rows p in [0, d1/2] are computed and the others are mirrored.

With G = dL/d(delta_W), the gradient is the adjoint of (A) and has the same form, (p, q) and (u, v) exchanged:

    dc_k = scale / (d1 d2) * sum_pq G[p, q] cos(2 pi (u_k p / d1 + v_k q / d2))                                      (B)

It sees only the point-symmetric part of G, half of whose rows say it all; one half transform serves both directions.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .entries import Band, Shape, sample_entries


@dataclass(frozen=True)
class Plan:
    """The index tables of one set of entries. Made by `make_plan`, shared by all layers that ask for the same.

    slots: (n,) int64, the place of entry k in the half spectrum (h(d2), d1), flattened: v * d1 + (-u mod d1).
    shares: (n,) float32, how much of c_k stands there: 1 in the columns v = 0 and d2/2, which are their own mirror, and
    1/2 in the others, which the inverse transform counts twice.
    """

    shape: Shape
    slots: Tensor
    shares: Tensor


@cache
def make_plan(shape: Shape, n: int, seed: int, band: Band | None, device: torch.device) -> Plan:
    """The plan for these entries on this device. Computed once for each set of arguments: about 12 bytes an entry."""
    with torch.inference_mode(False):  # a table first asked for in inference mode must still serve training
        (u, v), (d1, d2) = sample_entries(shape, n, seed, band), shape
        fold = v > d2 // 2
        u, v = torch.where(fold, -u, u), torch.where(fold, d2 - v, v)
        own_mirror = (v == 0) | (2 * v == d2)
        # -u, for the sign of the forward transform along u: cos(2 pi (v q / d2 - (-u) p / d1)).
        slots, shares = v * d1 + (-u) % d1, torch.where(own_mirror, 1.0, 0.5)
        return Plan(shape, slots.to(device), shares.to(device))


def delta_weight(c: Tensor, plan: Plan, scale: float) -> Tensor:
    """(A): the weight change of Equations 2 and 3. c: (n,) float32 or float64. Returns (out, in) in the dtype of c."""
    d1, d2 = plan.shape
    h1, h2 = d1 // 2 + 1, d2 // 2 + 1
    # Two entries that mirror each other share a slot: add, never assign.
    half = c.new_zeros(h2 * d1).index_add_(0, plan.slots, c * plan.shares.to(c.dtype) * (scale / (d1 * d2)))
    delta = c.new_empty(d1, d2)
    delta[:h1] = _half_transform(half.view(h2, d1), d2)
    partners = delta[1 : d1 - h1 + 1]  # the rows p whose mirror -p is among the lower ones
    delta[h1:, 0] = partners[:, 0].flip(0)
    delta[h1:, 1:] = partners[:, 1:].flip(0, 1)
    return delta


def coefficient_grad(grad: Tensor, plan: Plan, scale: float) -> Tensor:
    """(B): dL/dc from grad = dL/d(delta_W), (out, in) float32 or float64. Returns (n,) in the dtype of grad."""
    d1, d2 = plan.shape
    h1 = d1 // 2 + 1
    folded = grad[:h1].clone()
    partners = folded[1 : d1 - h1 + 1]
    partners[:, 0] += grad[h1:, 0].flip(0)
    partners[:, 1:] += grad[h1:, 1:].flip(0, 1)
    partners *= 0.5  # the inverse transform counts these rows twice
    return _half_transform(folded, d1).flatten()[plan.slots] * (scale / (d1 * d2))


def _half_transform(x: Tensor, length: int) -> Tensor:
    """y[j, m] = sum_ik w_i x[i, k] cos(2 pi (i m / length - j k / columns)), w_i = 1 if i is its own mirror, else 2.

    x: (h(length), columns), real. Returns (h(columns), length). A real FFT along the contiguous rows, then an inverse
    real FFT along what were the columns. Row i = 0, and i = length / 2 of an even length, must enter the latter real:
    the imaginary part has no meaning there, and not every backend ignores it. An odd length has no such second row.
    """
    spectrum = torch.fft.rfft(x, dim=1)
    spectrum.imag[0] = 0.0
    if length % 2 == 0:
        spectrum.imag[-1] = 0.0
    return torch.fft.irfft(spectrum.t(), n=length, dim=1, norm="forward")

"""The other bases that Fourier's is compared with (Table 6 of the paper, and beyond it), and delta_W in them.

    delta_W = s B1 S B2^T = s sum_k c_k b1(u_k) b2(v_k)^T,   s = scale / sqrt(2 d1 d2)

b(u) is column u of a basis matrix of unit columns, one for each side. A cosine of the Fourier basis has the norm
scale / sqrt(2 d1 d2) too: in every basis the same scale makes a delta_W of the same size at the start, and gradients of
the same size, so that the same rates mean the same.

delta_W, and the gradient from G = dL/d(delta_W), take d1 d2 (d1 + n / d1) multiply-adds (none where the basis is the
identity): what a comparison of bases needs, not more.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

if TYPE_CHECKING:
    from .plan import BasisPlan


def _random(d: int, generator: Generator) -> Tensor:
    """Gaussian, not orthogonal, of unit norm in the mean: the paper's R-B."""
    return torch.randn(d, d, generator=generator, dtype=torch.float64) / math.sqrt(d)


def _orthogonal(d: int, generator: Generator) -> Tensor:
    """Uniform among the orthogonal matrices (QR, with the signs of R taken out): the paper's O-B."""
    q, r = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()


def _dct(d: int, generator: Generator) -> Tensor:
    """Cosines of half periods, DCT-II."""
    place, frequency = torch.arange(d, dtype=torch.float64)[:, None], torch.arange(d)
    cosines = torch.cos(math.pi / d * (place + 0.5) * frequency) * math.sqrt(2 / d)
    cosines[:, 0] /= math.sqrt(2)
    return cosines


def _hartley(d: int, generator: Generator) -> Tensor:
    """cos + sin, on each side apart: real, and its own inverse."""
    place = torch.arange(d, dtype=torch.float64)
    angle = (place[:, None] * place % d) * (2 * math.pi / d)
    return (angle.cos() + angle.sin()) / math.sqrt(d)


def _haar(d: int, generator: Generator) -> Tensor:
    """Haar's wavelets: means of neighbours, and their differences, halved as long as the length is even.

    What remains of a length that is no power of two, 3 of 384, stays as it is: means of blocks of 128.
    """
    if d % 2:
        return torch.eye(d, dtype=torch.float64)
    means = _haar(d // 2, generator).repeat_interleave(2, dim=0)
    differences = torch.eye(d // 2, dtype=torch.float64).repeat_interleave(2, dim=0)
    differences[1::2] *= -1
    return torch.cat([means, differences], dim=1) / math.sqrt(2)


BASES: dict[str, Callable[[int, Generator], Tensor] | None] = {
    "fourier": None,  # has forms of its own, which no matrix is needed for
    "random": _random,
    "orthogonal": _orthogonal,
    "dct": _dct,
    "hartley": _hartley,
    "haar": _haar,
    "identity": None,  # no transform: entries of delta_W itself
}


def basis_matrices(basis: str, shape: tuple[int, int], seed: int) -> tuple[Tensor, Tensor] | tuple[()]:
    """B1 (out, out) and B2 (in, in), float32 on the CPU, drawn, if at all, from the seed; () where none are needed."""
    vectors = BASES[basis]
    if vectors is None:
        return ()
    generator = torch.Generator(device="cpu").manual_seed(seed)
    with torch.device("cpu"):  # whatever the default is
        left, right = (vectors(d, generator).float() for d in shape)
    return left, right


def delta_weight(c: Tensor, plan: "BasisPlan", scale: float, base: Tensor | None = None) -> Tensor:
    """delta_W, or base + delta_W. c: (n,) float32 or float64; base: (out, in), of any dtype. Returns (out, in) as c."""
    c, delta = c * plan.unit(scale), c.new_zeros(plan.shape)
    if plan.vectors:
        left, right = plan.vectors
        delta.index_add_(0, plan.u, right.t()[plan.v].to(c.dtype) * c[:, None])
        delta = left.to(c.dtype) @ delta
    else:
        delta[plan.u, plan.v] = c
    return delta if base is None else delta.add_(base)


def coefficient_grad(grad: Tensor, plan: "BasisPlan", scale: float) -> Tensor:
    """dL/dc from grad = dL/d(delta_W), (out, in) float32 or float64. Returns (n,) in the dtype of grad."""
    if not plan.vectors:
        return grad[plan.u, plan.v] * plan.unit(scale)
    left, right = plan.vectors
    rows = left.t().to(grad.dtype) @ grad
    return (rows[plan.u] * right.t()[plan.v].to(grad.dtype)).sum(1) * plan.unit(scale)

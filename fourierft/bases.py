"""The other bases that Fourier's is compared with: Table 6 of the paper, and beyond it.

    delta_W = s B1 S B2^T = s sum_k c_k b1(u_k) b2(v_k)^T,   s = scale / sqrt(2 d1 d2)

b1(u), b2(v) are columns of basis matrices B1 (d1, d1) and B2 (d2, d2), of unit norm. A cosine of the Fourier basis also
has norm scale / sqrt(2 d1 d2), so the same scale gives the same initial size of delta_W and of its gradients in every
basis, and learning rates are comparable.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor


def _random(d: int, generator: Generator) -> Tensor:
    """Gaussian columns of unit norm on average, not orthogonal: the paper's R-B."""
    return torch.randn(d, d, generator=generator, dtype=torch.float64) / math.sqrt(d)


def _orthogonal(d: int, generator: Generator) -> Tensor:
    """Uniform over the orthogonal matrices (QR, corrected by the signs of diag R): the paper's O-B."""
    q, r = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()


def _dct(d: int, generator: Generator) -> Tensor:
    """Orthonormal DCT-II."""
    place, frequency = torch.arange(d, dtype=torch.float64)[:, None], torch.arange(d)
    cosines = torch.cos(math.pi / d * (place + 0.5) * frequency) * math.sqrt(2 / d)
    cosines[:, 0] /= math.sqrt(2)
    return cosines


def _hartley(d: int, generator: Generator) -> Tensor:
    """Discrete Hartley transform, cos + sin, separately on each side."""
    place = torch.arange(d, dtype=torch.float64)
    angle = (place[:, None] * place % d) * (2 * math.pi / d)
    return (angle.cos() + angle.sin()) / math.sqrt(d)


def _haar(d: int, generator: Generator) -> Tensor:
    """Haar wavelets: means and differences of neighbours, applied again to the means while their number is even.

    Of length 384 three means remain, of blocks of 128.
    """
    if d % 2:
        return torch.eye(d, dtype=torch.float64)
    means = _haar(d // 2, generator).repeat_interleave(2, dim=0)
    differences = torch.eye(d // 2, dtype=torch.float64).repeat_interleave(2, dim=0)
    differences[1::2] *= -1
    return torch.cat([means, differences], dim=1) / math.sqrt(2)


BASES: dict[str, Callable[[int, Generator], Tensor] | None] = {
    "fourier": None,  # needs no matrix: see spectral.py
    "random": _random,
    "orthogonal": _orthogonal,
    "dct": _dct,
    "hartley": _hartley,
    "haar": _haar,
    "identity": None,  # the coefficients are entries of delta_W itself
}


def basis_matrices(basis: str, shape: tuple[int, int], seed: int) -> tuple[Tensor, Tensor] | tuple[()]:
    """B1 (out, out) and B2 (in, in), float32 on the CPU; random ones are drawn from the seed. () if none are needed."""
    vectors = BASES[basis]
    if vectors is None:
        return ()
    generator = torch.Generator(device="cpu").manual_seed(seed)
    with torch.device("cpu"):  # whatever the default device is
        left, right = (vectors(d, generator).float() for d in shape)
    return left, right

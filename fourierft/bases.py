"""The other bases that a spectrum can be read in: what Fourier is compared with (Table 6 of the paper, and beyond it).

    delta_W = s B1 S B2^T = s sum_k c_k b1(u_k) b2(v_k)^T,   s = scale / sqrt(2 d1 d2)

b(u) is column u of a basis matrix of unit columns, one for each side. A cosine of the Fourier basis has the norm
scale / sqrt(2 d1 d2) too: in every basis the same scale makes a delta_W of the same size at the start, and gradients of
the same size, so that the same rates mean the same.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor


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

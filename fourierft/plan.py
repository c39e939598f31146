"""Where the coefficients stand, as the index tables that every fast form of delta_W reads.

delta_W is a sum of cosines (`reference.py`, with s = scale / (d1 d2), d1 = out, d2 = in):

    delta_W[p, q] = s sum_k c_k cos(2 pi (u_k p / d1 + v_k q / d2))

A cosine is even, so every frequency can be folded to at most half its period, if the sign between the two is kept:

    delta_W[p, q] = s sum_k c_k cos(2 pi (sign_k u_k p / d1 + v_k q / d2)),   0 <= u_k <= d1/2,  0 <= v_k <= d2/2
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import native
from .bases import basis_matrices
from .entries import Entries, Shape


@dataclass(frozen=True, eq=False)
class AnyPlan:
    """The entries of one (out, in) matrix on one device, n in all.

    entries: what is planned; of several the coefficients are concatenated and the changes added.
    u, v: (n,) int64, along the rows and the columns of the spectrum.
    """

    shape: Shape
    entries: tuple[Entries, ...]
    u: Tensor
    v: Tensor

    @property
    def n(self) -> int:
        return len(self.u)

    def __reduce__(self) -> tuple:  # copies and pickles of a layer ask again, and share what is there
        return make_plan, (self.shape, self.u.device, *self.entries)


@dataclass(frozen=True, eq=False)
class Plan(AnyPlan):
    """Folded entries; 36 bytes each.

    u, v: (n,) int64, folded frequencies along the rows and the columns of delta_W. sign: (n,) float32, 1 or -1.
    u_share, v_share: (n,) float32, how much of an entry a half spectrum over u, or over v, holds: 1 at the frequency 0
    and at half an even length, which are their own mirrors; 1/2 elsewhere, where the inverse transform counts twice.
    slots: (n,) int64, the place of an entry in the half spectrum (d2 // 2 + 1, d1), flattened: row v, and in it the
    column -sign u, for the sign of the forward transform.
    """

    sign: Tensor
    u_share: Tensor
    v_share: Tensor
    slots: Tensor
    native: bool = False  # whether rows can go through C, see `native.py`
    grid: tuple[int, ...] = ()  # (rows, columns) that the entries are the product of, if they are
    tables: dict[Hashable, tuple[Tensor, ...]] = field(default_factory=dict)  # of the kernels and of `grid.py`

    @property
    def frequencies(self) -> tuple[Tensor, Tensor]:
        """sign u and v: (n,) int64 each, whose waves along the rows and the columns make up a cosine."""
        return self.sign.long() * self.u, self.v

    def unit(self, scale: float) -> float:
        """s, the factor of a cosine."""
        return scale / math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class BasisPlan(AnyPlan):
    """Entries of another basis than Fourier's, with its vectors.

    vectors: those of `basis_matrices`, (out, out) and (in, in), or (); shared by all layers of the plan.
    """

    vectors: tuple[Tensor, ...]

    def unit(self, scale: float) -> float:
        """The factor of a product of two vectors, see `bases.py`."""
        return scale / math.sqrt(2 * math.prod(self.shape))


# Every plan by what it was asked for. A plain dict: torch.compile would look through a functools.cache, and trace.
_plans: dict[tuple, Plan | BasisPlan] = {}


def make_plan(shape: Shape, device: torch.device, *entries: Entries) -> Plan | BasisPlan:
    """The plan of these entries, more than one only of the Fourier basis; one object for all who ask for the same."""
    key = shape, device, entries
    if key not in _plans:
        with torch.inference_mode(False):  # tables first asked for in inference mode must still serve training
            drawn = torch.cat([one.sample(shape) for one in entries], dim=1)
            _plans[key] = (_fold if entries[0].basis == "fourier" else _in_basis)(shape, device, entries, drawn)
    return _plans[key]


def waves(frequencies: Tensor, places: int, period: int) -> Tensor:
    """cos and sin of 2 pi f p / period, (n, 2, places) float64: f from `frequencies`, (n,) int64, p from 0 on."""
    angle = (frequencies[:, None] * torch.arange(places, device=frequencies.device) % period).double()
    angle *= 2 * torch.pi / period
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def _in_basis(shape: Shape, device: torch.device, entries: tuple[Entries, ...], drawn: Tensor) -> BasisPlan:
    (one,) = entries
    vectors = tuple(matrix.to(device) for matrix in basis_matrices(one.basis, shape, one.seed))
    u, v = drawn.to(device)
    return BasisPlan(shape, entries, u, v, vectors)


def _fold(shape: Shape, device: torch.device, entries: tuple[Entries, ...], drawn: Tensor) -> Plan:
    (u, v), (d1, d2) = drawn, shape
    fold_u, fold_v = 2 * u > d1, 2 * v > d2
    u, v = torch.where(fold_u, d1 - u, u), torch.where(fold_v, d2 - v, v)
    sign = torch.where(fold_u == fold_v, 1.0, -1.0)
    return Plan(
        shape,
        entries,
        u=u.to(device),
        v=v.to(device),
        sign=sign.to(device),
        u_share=_share(u, d1).to(device),
        v_share=_share(v, d2).to(device),
        slots=(v * d1 + torch.where(fold_u == fold_v, -u, u) % d1).to(device),
        native=device.type == "cpu" and native.available(d1, d2),
        grid=entries[0].sides(shape) if entries[0].kind == "grid" else (),
    )


def _share(frequency: Tensor, length: int) -> Tensor:
    return torch.where((frequency == 0) | (2 * frequency == length), 1.0, 0.5)

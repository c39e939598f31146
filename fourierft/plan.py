"""The positions of the coefficients, as the index tables that every fast form of delta_W reads.

delta_W is a sum of cosines (`reference.py`, d1 = out, d2 = in) with amplitudes a, which all fast forms take:

    delta_W[p, q] = sum_k a_k cos(2 pi (u_k p / d1 + v_k q / d2)),   a_k = s c_k,   s = scale / (d1 d2)

A cosine is even, so each frequency can be folded to at most half its period, if the sign between the two is kept:

    delta_W[p, q] = sum_k a_k cos(2 pi (sign_k u_k p / d1 + v_k q / d2)),   0 <= u_k <= d1/2,  0 <= v_k <= d2/2
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import native
from .bases import basis_matrices
from .entries import Entries, Shape


@dataclass(frozen=True, eq=False)
class AnyPlan:
    """The n positions of one (out, in) matrix, on one device.

    entries: what was drawn; if several, their coefficients are concatenated and their delta_W added.
    u, v: (n,) int64, rows and columns of the spectrum.
    """

    shape: Shape
    entries: tuple[Entries, ...]
    u: Tensor
    v: Tensor

    @property
    def n(self) -> int:
        return len(self.u)

    def __reduce__(self) -> tuple:  # on the CPU, which is there wherever a pickle is loaded
        return make_plan, (self.shape, torch.device("cpu"), *self.entries)


@dataclass(frozen=True, eq=False)
class Plan(AnyPlan):
    """Folded positions of the Fourier basis; 36 bytes each.

    u, v: (n,) int64, folded frequencies along the rows and the columns of delta_W. sign: (n,) float32, 1 or -1.
    u_share, v_share: (n,) float32, weight of a coefficient in a half spectrum over u, or over v: 1 at frequency 0 and
    at half an even length, which are their own mirrors; 1/2 elsewhere, since the inverse transform counts those twice.
    slots: (n,) int64, index of a coefficient in the flattened half spectrum (d2 // 2 + 1, d1): row v, column -sign u
    (minus, for the sign of the forward transform).
    """

    sign: Tensor
    u_share: Tensor
    v_share: Tensor
    slots: Tensor
    native: bool = False  # whether `native.py` can transform the rows
    grid: tuple[int, ...] = ()  # (a, b) if the positions are a grid of a rows and b columns
    tables: dict[Hashable, tuple[Tensor, ...]] = field(default_factory=dict)  # of the kernels and `grid.py`

    @property
    def frequencies(self) -> tuple[Tensor, Tensor]:
        """sign u and v, (n,) int64: the signed frequencies along the rows and the columns."""
        return self.sign.long() * self.u, self.v

    def table(self, key: Hashable, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What `make` returns, made once; shared by all layers of the plan."""
        # Not a functools.cache, as for `_plans`. Stored in one step, for other threads.
        made = self.tables.get(key)
        if made is None:
            made = make()
            if is_real(made[0]):
                self.tables[key] = made
        return made

    def unit(self, scale: float) -> float:
        """s, the amplitude of a coefficient of 1."""
        return scale / math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class BasisPlan(AnyPlan):
    """Positions in another basis than Fourier's, with that basis.

    vectors: `basis_matrices`, (out, out) and (in, in), or (); shared by all layers of the plan.
    """

    vectors: tuple[Tensor, ...]

    def unit(self, scale: float) -> float:
        """s of `bases.py`, the factor of each product of basis vectors."""
        return scale / math.sqrt(2 * math.prod(self.shape))


# Not a functools.cache: torch.compile would trace through it into the draw.
_plans: dict[tuple, Plan | BasisPlan] = {}


def make_plan(shape: Shape, device: torch.device, *entries: Entries) -> Plan | BasisPlan:
    """The plan of these entries (several only in the Fourier basis); equal arguments get the same object."""
    key = shape, device, entries
    plan = _plans.get(key)
    if plan is None:
        with torch.inference_mode(False):  # tables made in inference mode could not be used in training
            drawn = torch.cat([one.sample(shape) for one in entries], dim=1)
            plan = (_fold if entries[0].basis == "fourier" else _in_basis)(shape, device, entries, drawn)
        if is_real(plan.u):
            _plans[key] = plan
    return plan


def is_real(table: Tensor) -> bool:
    """Whether this can be kept. What is made while torch.export traces has no values, and would serve no later call."""
    return type(table) is Tensor


def waves(frequencies: Tensor, places: int, period: int) -> Tensor:
    """cos and sin of 2 pi f p / period, (n, 2, places) float64. f: `frequencies`, (n,) int64; p: 0 to places - 1."""
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
    sign = torch.where(fold_u == fold_v, 1.0, -1.0).float()  # whatever the default dtype is
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
    return torch.where((frequency == 0) | (2 * frequency == length), 1.0, 0.5).float()

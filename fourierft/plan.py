"""Where the coefficients stand, as the index tables that every fast form of delta_W reads.

delta_W is a sum of cosines (`reference.py`, with s = scale / (d1 d2), d1 = out, d2 = in):

    delta_W[p, q] = s sum_k c_k cos(2 pi (u_k p / d1 + v_k q / d2))

A cosine is even, so every frequency can be folded to at most half its period, if the sign between the two is kept:

    delta_W[p, q] = s sum_k c_k cos(2 pi (sign_k u_k p / d1 + v_k q / d2)),   0 <= u_k <= d1/2,  0 <= v_k <= d2/2
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import native
from .bases import basis_matrices
from .entries import Band, Shape, grid_sides, sample_entries, sample_grid


@dataclass(frozen=True, eq=False)
class Plan:
    """The folded entries of one (out, in) matrix, n of them, on one device; 36 bytes an entry.

    u, v: (n,) int64, folded frequencies along the rows and the columns of delta_W. sign: (n,) float32, 1 or -1.
    u_share, v_share: (n,) float32, how much of an entry a half spectrum over u, or over v, holds: 1 at the frequency 0
    and at half an even length, which are their own mirrors; 1/2 elsewhere, where the inverse transform counts twice.
    slots: (n,) int64, the place of an entry in the half spectrum (d2 // 2 + 1, d1), flattened: row v, and in it the
    column -sign u, for the sign of the forward transform.
    """

    shape: Shape
    u: Tensor
    v: Tensor
    sign: Tensor
    u_share: Tensor
    v_share: Tensor
    slots: Tensor
    source: tuple  # the arguments of `make_plan`, or the joined plans
    native: bool = False  # whether rows can go through C, see `native.py`
    grid: tuple[int, int] | None = None  # rows and columns that the entries are the product of
    tables: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)  # of `kernel.py`
    grid_tables: dict[torch.dtype, tuple[Tensor, Tensor]] = field(default_factory=dict)  # of `grid.py`
    by_target: dict[bool, tuple[Tensor, Tensor]] = field(default_factory=dict)  # of `kernel_tokens.py`

    @property
    def n(self) -> int:
        return len(self.u)

    def __reduce__(self):  # copies and pickles of a layer ask again, and share what is there
        return join_plans if isinstance(self.source[0], Plan) else make_plan, self.source


@dataclass(frozen=True, eq=False)
class BasisPlan:
    """The entries of one (out, in) matrix in another basis than Fourier's, with its vectors, on one device.

    u, v: (n,) int64, rows and columns of the spectrum. vectors: those of `basis_matrices`, (out, out) and (in, in), or
    (); shared by all layers of the plan.
    """

    shape: Shape
    u: Tensor
    v: Tensor
    vectors: tuple[Tensor, ...]
    source: tuple  # the arguments of `make_plan`

    @property
    def basis(self) -> str:
        return self.source[5]

    @property
    def n(self) -> int:
        return len(self.u)

    def __reduce__(self):
        return make_plan, self.source


# Every plan by what it was asked for. A plain dict: torch.compile would look through a functools.cache, and trace.
_plans: dict[tuple, Plan | BasisPlan] = {}


def make_plan(
    shape: Shape,
    n: int,
    seed: int,
    band: Band | None,
    device: torch.device,
    basis: str = "fourier",
    grid: bool = False,
) -> Plan | BasisPlan:
    """The plan of `sample_entries(shape, n, seed, band)`, or of `sample_grid(shape, n, seed)`, on a device; one for all
    who ask for the same."""
    source = shape, n, seed, band, device, basis, grid
    if source not in _plans:
        with torch.inference_mode(False):  # tables first asked for in inference mode must still serve training
            entries = sample_grid(shape, n, seed) if grid else sample_entries(shape, n, seed, band)
            if basis == "fourier":
                _plans[source] = _fold(entries, source)
            else:
                vectors = tuple(matrix.to(device) for matrix in basis_matrices(basis, shape, seed))
                _plans[source] = BasisPlan(shape, *entries.to(device), vectors, source)
    return _plans[source]


def join_plans(*plans: Plan) -> Plan:
    """The plan of the sum of several changes of one shape: it goes with the concatenation of their coefficients."""
    key = tuple(plan.source for plan in plans)
    if len(plans) == 1:
        return plans[0]
    if key not in _plans:
        tables = ("u", "v", "sign", "u_share", "v_share", "slots")
        joined = {name: torch.cat([getattr(plan, name) for plan in plans]) for name in tables}
        _plans[key] = Plan(plans[0].shape, **joined, source=plans, native=plans[0].native)
    return _plans[key]


def _fold(entries: Tensor, source: tuple) -> Plan:
    (u, v), (d1, d2), device = entries, source[0], source[4]
    fold_u, fold_v = 2 * u > d1, 2 * v > d2
    u, v = torch.where(fold_u, d1 - u, u), torch.where(fold_v, d2 - v, v)
    sign = torch.where(fold_u == fold_v, 1.0, -1.0)
    slots = v * d1 + torch.where(fold_u == fold_v, -u, u) % d1
    tables = u, v, sign, _share(u, d1), _share(v, d2), slots
    grid = grid_sides((d1, d2), len(u)) if source[6] else None
    compiled = device.type == "cpu" and native.available(d1, d2)
    return Plan((d1, d2), *(table.to(device) for table in tables), source=source, native=compiled, grid=grid)


def _share(frequency: Tensor, length: int) -> Tensor:
    return torch.where((frequency == 0) | (2 * frequency == length), 1.0, 0.5)

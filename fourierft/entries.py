"""Which n positions of the spectrum carry a coefficient: drawn once from a seed, equal on every machine.

By default the draw is uniform and the same as PEFT's for the same seed. With `band=(center, width)` it follows the
Gaussian band-pass of the paper's frequency-bias study (Equation 5). With `kind="grid"` (`grid.py`) the positions are
all pairs of some rows and some columns.
"""

import math
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from .bases import BASES
from .errors import FourierError, require

Shape = tuple[int, int]
Band = tuple[float, float]


@dataclass(frozen=True)
class Entries:
    """n positions, drawn from a seed, and the basis of their coefficients; immutable; with a shape the key of a plan.

    The fields are n, entry_seed, band, basis and entries of FourierConfig.
    Raises FourierError, naming the field of FourierConfig, for a value that is invalid or conflicts with another.
    """

    n: int
    seed: int = 2024
    band: Band | None = None
    basis: str = "fourier"
    kind: str = "random"

    def __post_init__(self) -> None:
        n, seed, band, fourier = self.n, self.seed, self.band, self.basis == "fourier"
        require(is_int(n) and n >= 1, "n", n, "an integer of at least 1, e.g. 1000")
        signed = is_int(seed) and -(2**63) <= seed < 2**63
        require(signed, "entry_seed", seed, "a 64-bit integer: 2024 is the paper's, 777 is PEFT's default")
        pair = isinstance(band, tuple) and len(band) == 2 and all(map(is_finite, band)) and band[0] >= 0 and band[1] > 0
        bins = "None or (center, width) in bins with center >= 0 and width > 0, e.g. (100, 200)"
        require(band is None or pair, "band", band, bins)
        require(self.basis in tuple(BASES), "basis", self.basis, f"one of {', '.join(BASES)}")
        require(self.kind in ("random", "grid"), "entries", self.kind, '"random" or "grid"')
        require(band is None or fourier, "band", band, "None: frequencies are those of the Fourier basis")
        alone = '"random": a grid has no band, and no basis but "fourier"'
        require(self.kind == "random" or (band is None and fourier), "entries", self.kind, alone)

    def check(self, shape: Shape) -> None:
        """Raises FourierError unless n distinct positions can be drawn from a spectrum of this (out, in) shape."""
        if self.kind == "grid":
            self.sides(shape)
        if self.n > self.available(shape):
            raise FourierError(
                f"n={self.n} entries cannot be drawn from a spectrum of shape {tuple(shape)}: choose 1 <= n <= "
                f"{self.available(shape)}"
            )

    def available(self, shape: Shape) -> int:
        """How many positions of a spectrum of this (out, in) shape can be drawn."""
        # In a band the zero frequency has probability 0, unless the band is centred on it.
        return shape[0] * shape[1] - (self.band is not None and self.band[0] > 0)

    def sample(self, shape: Shape) -> Tensor:
        """n distinct positions (u, v) of an (out, in) spectrum, in the unshifted order of `torch.fft`.

        Returns (2, n) int64 on the CPU: rows u in [0, out), columns v in [0, in). A grid is listed row by row, and all
        its columns have 0 < v < in / 2, so that its n cosines are orthogonal and of equal norm.
        Raises FourierError if n does not fit the shape.
        """
        self.check(shape)
        generator = torch.Generator(device="cpu").manual_seed(self.seed)

        def drawn(count: int, of: int) -> Tensor:
            return torch.randperm(of, generator=generator, device="cpu")[:count]

        if self.kind == "grid":
            a, b = self.sides(shape)
            rows, columns = drawn(a, shape[0]), drawn(b, _grid_columns(shape))
            return torch.cartesian_prod(rows, 1 + columns).t().contiguous()
        if self.band is None:
            flat = drawn(self.n, shape[0] * shape[1])
        else:
            # The n largest of log p + Gumbel noise are a draw without replacement with probabilities p. p itself would
            # underflow far from a narrow band, and torch.multinomial takes at most 2^24 positions.
            log_p = band_log_probability(shape, *self.band).flatten()
            noise = torch.empty(log_p.shape, dtype=torch.float64, device="cpu").exponential_(generator=generator)
            flat = torch.topk(log_p - noise.log_(), self.n).indices
        return torch.stack([flat // shape[1], flat % shape[1]])

    def sides(self, shape: Shape) -> tuple[int, int]:
        """(a, b), the numbers of rows and columns of a grid: a b = n, with a / b as near to out / in as possible.

        Raises FourierError, naming the nearest n that works, if a / b would differ from out / in by more than 4 times.
        """
        n, sides = self.n, _grid_sides(shape, self.n)
        if sides is None:
            near = (_grid_sides(shape, m) for k in range(1, n + 1) for m in (n - k, n + k))
            a, b = next(filter(None, near), (0, 0))
            remedy = f"n={a * b} does ({a} x {b})" if a else "no other n does"
            raise FourierError(f"n={n} makes no grid of rows times columns for a spectrum of shape {shape}: {remedy}")
        return sides


def band_log_probability(shape: Shape, center: float, width: float) -> Tensor:
    """log p(u, v) of Equation 5, unnormalised: p = exp(-((D^2 - center^2) / (D width))^2). Returns (out, in) float64.

    D is the distance, in bins, from (u, v) to the zero frequency. At D = 0 p is its limit: 1 for center 0, else 0.
    """
    u, v = (torch.fft.fftfreq(d, 1 / d, dtype=torch.float64, device="cpu") for d in shape)
    distance = torch.hypot(u[:, None], v[None, :])
    log_p = -(((distance - center**2 / distance) / width) ** 2)
    log_p[0, 0] = 0.0 if center == 0 else -torch.inf
    return log_p


def is_int(value: object) -> bool:
    """Whether `value` is an integer, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether `value` is a number within the range of a float, and not NaN or a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _grid_sides(shape: Shape, n: int) -> tuple[int, int] | None:
    def skew(a: int) -> float:
        return abs(math.log(a * a * shape[1] / (n * shape[0])))

    fitting = [a for a in range(1, min(n, shape[0]) + 1) if n % a == 0 and n // a <= _grid_columns(shape)]
    # Of two that are equally near, 25 x 40 and 40 x 25, the one with fewer columns: 2 b numbers per token are saved.
    best = min(reversed(fitting), key=lambda a: round(skew(a), 9), default=None)
    return (best, n // best) if best and skew(best) <= math.log(4) + 1e-9 else None


def _grid_columns(shape: Shape) -> int:
    return (shape[1] - 1) // 2

"""Which n positions of the spectrum carry a coefficient: drawn once from a seed, equal on every machine.

Without a band the draw is uniform and equal, number for number, to PEFT's for the same seed. With `band=(center,
width)` it follows the Gaussian band-pass of the paper's frequency-bias study (Equation 5).
"""

import math

import torch
from torch import Tensor

from .errors import FourierError

Shape = tuple[int, int]
Band = tuple[float, float]


def check_n(shape: Shape, n: int, band: Band | None = None, entries: str = "random") -> None:
    """Raises FourierError unless n distinct entries can be drawn from a spectrum of this (out, in) shape."""
    if entries == "grid":
        grid_sides(shape, n)
    # Equation 5 gives the zero frequency probability 0 in every band but those centred on it.
    available = shape[0] * shape[1] - (band is not None and band[0] > 0)
    if not 1 <= n <= available:
        raise FourierError(
            f"n={n} entries cannot be drawn from a spectrum of shape {tuple(shape)}: choose 1 <= n <= {available}"
        )


def sample_entries(shape: Shape, n: int, seed: int, band: Band | None = None) -> Tensor:
    """n distinct positions (u, v) of an (out, in) spectrum, in the unshifted order of `torch.fft`.

    Returns (2, n) int64 on the CPU, rows u in [0, out) and columns v in [0, in). `band` is (center, width) in bins.
    Raises FourierError if n is out of range.
    """
    check_n(shape, n, band)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    if band is None:
        flat = torch.randperm(shape[0] * shape[1], generator=generator, device="cpu")[:n]
    else:
        # The n largest of log p + Gumbel noise are a draw without replacement in proportion to p. Staying with log p
        # keeps the far ends of a narrow band apart, where p itself underflows; multinomial stops at 2^24 positions.
        log_p = band_log_probability(shape, *band).flatten()
        noise = torch.empty(log_p.shape, dtype=torch.float64, device="cpu").exponential_(generator=generator)
        flat = torch.topk(log_p - noise.log_(), n).indices
    return torch.stack([flat // shape[1], flat % shape[1]])


def sample_grid(shape: Shape, n: int, seed: int) -> Tensor:
    """n positions that are a set of rows times a set of columns, in the order of the rows; as `sample_entries` gives.

    The columns are of 0 < v < in / 2, half of those that are not their own mirrors: so no two of the n cosines are the
    same, and all are orthogonal and of one norm. Raises FourierError where n makes no such grid.
    """
    a, b = grid_sides(shape, n)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    rows = torch.randperm(shape[0], generator=generator, device="cpu")[:a]
    columns = 1 + torch.randperm(_columns(shape), generator=generator, device="cpu")[:b]
    return torch.cartesian_prod(rows, columns).t().contiguous()


def grid_sides(shape: Shape, n: int) -> tuple[int, int]:
    """(a, b) with a b = n, in proportion as near as can be to the (out, in) of `shape`. Raises FourierError where they
    would be out of it by more than a factor of 4, naming the nearest n that would not.
    """
    sides = _sides(shape, n)
    if sides is None:
        near = next((m for k in range(1, n + 1) for m in (n - k, n + k) if _sides(shape, m)), None)
        remedy = f"n={near} does ({' x '.join(map(str, _sides(shape, near)))})" if near else "no other n does"
        raise FourierError(f"n={n} makes no grid of rows times columns for a spectrum of shape {shape}: {remedy}")
    return sides


def _sides(shape: Shape, n: int) -> tuple[int, int] | None:
    def skew(a: int) -> float:
        return abs(math.log(a * a * shape[1] / (n * shape[0])))

    fitting = [a for a in range(1, min(n, shape[0]) + 1) if n % a == 0 and n // a <= _columns(shape)]
    # Of two that are as near, 25 x 40 and 40 x 25, the one of fewer columns: the backward pass keeps 2 b a token.
    best = min(reversed(fitting), key=lambda a: round(skew(a), 9), default=None)
    return (best, n // best) if best and skew(best) <= math.log(4) + 1e-9 else None


def _columns(shape: Shape) -> int:
    return (shape[1] - 1) // 2


def band_log_probability(shape: Shape, center: float, width: float) -> Tensor:
    """log p(u, v) of Equation 5, unnormalised: p = exp(-((D^2 - center^2) / (D width))^2). Returns (out, in) float64.

    D is the distance, in bins, of (u, v) to the zero frequency, the centre of the shifted spectrum. At D = 0 the
    limit is taken: p = 1 for center 0, else 0 (log p = -inf).
    """
    u, v = (torch.fft.fftfreq(d, 1 / d, dtype=torch.float64, device="cpu") for d in shape)
    distance = torch.hypot(u[:, None], v[None, :])
    log_p = -(((distance - center**2 / distance) / width) ** 2)
    log_p[0, 0] = 0.0 if center == 0 else -torch.inf
    return log_p

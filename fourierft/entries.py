"""Which n positions of the spectrum carry a coefficient: drawn once from a seed, equal on every machine.

Without a band the draw is uniform and equal, number for number, to PEFT's for the same seed. With `band=(center,
width)` it follows the Gaussian band-pass of the paper's frequency-bias study (Equation 5).
"""

import torch
from torch import Tensor

from .errors import FourierError

Shape = tuple[int, int]
Band = tuple[float, float]


def check_n(shape: Shape, n: int, band: Band | None = None) -> None:
    """Raises FourierError unless n distinct entries can be drawn from a spectrum of this (out, in) shape."""
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

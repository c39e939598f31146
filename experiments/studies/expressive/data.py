"""The points of Figure 7: eight classes in the plane, each with Gaussian noise around its centre."""

import torch
from torch import Generator, Tensor

from experiments.studies.expressive.outcome import CLASSES, EXTENT, NOISE, PER_CLASS, RADIUS, SPACING

LABELS = torch.arange(CLASSES).repeat_interleave(PER_CLASS)  # (240,) int64, of every seed


def points(centres: str, generators: list[Generator]) -> Tensor:
    """(seeds, 240, 2) float32, sorted by class, drawn from the generators, one per seed. centres: ring or scattered."""
    return torch.stack([_points(ring() if centres == "ring" else scattered(one), one) for one in generators])


def _points(centres: Tensor, generator: Generator) -> Tensor:
    noise = NOISE * torch.randn(CLASSES, PER_CLASS, 2, generator=generator)
    return (centres[:, None] + noise).flatten(0, 1)


def ring() -> Tensor:
    """Centres at equal angles, (8, 2)."""
    angles = torch.arange(CLASSES) * (2 * torch.pi / CLASSES)
    return RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)


def scattered(generator: Generator) -> Tensor:
    """Centres drawn uniformly where their classes fit into the picture, redrawn until no two are too close, (8, 2)."""
    reach = EXTENT - 2.5 * NOISE
    while True:
        centres = reach * (2 * torch.rand(CLASSES, 2, generator=generator) - 1)
        if torch.pdist(centres).min() >= SPACING:
            return centres


def grid(steps: int) -> Tensor:
    """The middles of the steps x steps squares of [-7, 7]^2, row by row from the bottom, (steps^2, 2)."""
    middles = EXTENT * ((2 * torch.arange(steps) + 1) / steps - 1)
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)

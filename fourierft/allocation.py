"""n by module from gradients: matrices that the loss pulls at most get most of the coefficients."""

import math
from collections.abc import Mapping

from torch import nn

from .entries import is_int
from .errors import FourierError, require
from .layer import FourierLayer
from .model import adapted_layers
from .scale import matrices, unit


def allocate(model: nn.Module, budget: int, floor: int = 32) -> dict[str, int]:
    """Shares out `budget` coefficients over the matrices of an adapted model: `floor` to each, the rest in proportion
    to the energy of their weights' gradients, as the coefficients' own gradients tell it. Returns n by the path of the
    module, for `FourierConfig.n_pattern`:

        config = fourierft.FourierConfig(n=333, scale="auto", targets="all-linear", head=("classifier",), init="zeros")
        probe = fourierft.adapt(copy.deepcopy(model), config)
        for batch in a_few_batches:
            loss(probe, batch).backward()  # gradients add up: no optimiser, no zero_grad
        pattern = fourierft.allocate(probe, 12_000)
        fourierft.adapt(model, dataclasses.replace(config, n_pattern=pattern))

    The parts of a module share one n, and each counts. No matrix gets more than its positions, nor one without a
    gradient more than the floor while others can take it. The sum is the budget, to the last coefficient; only where
    every module has two or three parts may one or two be left over.
    Raises FourierError for a plain model, a budget below floor times the matrices or above what they can take, a grid,
    and gradients that are missing or zero everywhere, or not finite.
    """
    layers = adapted_layers(model)
    parts = {path: matrices(layer) for path, layer in layers.items()}
    most = {path: layer.entries.available(layer.matrix_shape) for path, layer in layers.items()}
    small, count = min(most, key=lambda path: most[path]), sum(parts.values())
    fits = is_int(floor) and 1 <= floor <= most[small]
    require(fits, "floor", floor, f"an integer from 1 to {most[small]}, the positions of {small}")
    least, limit = floor * count, sum(parts[path] * most[path] for path in layers)
    remedy = f"an integer from {least}, floor={floor} for each of {count} matrices, to {limit}, or a lower floor"
    require(is_int(budget) and least <= budget <= limit, "budget", budget, remedy)
    if any(layer.entries.kind == "grid" for layer in layers.values()):
        raise FourierError('a grid needs an n with two factors, which no share has: adapt with entries="random"')
    return _share_out(budget, floor, energies(layers), parts, most)


def energies(layers: Mapping[str, FourierLayer]) -> dict[str, float]:
    """An estimate of ||dL/dW||^2 (Frobenius) for each layer, the mean over its parts; 0 for one without a gradient.

    A coefficient changes W by s times an atom of unit norm, s = scale / sqrt(2 d1 d2): its gradient is s <G, atom>, and
    the d1 d2 atoms together see all of ||G||^2. n of them, drawn at random, see n / (d1 d2) of it in expectation:

        ||G||^2 = ||g||^2 / s^2 * d1 d2 / n

    Exactly so for an orthonormal basis. Cosines see the point-symmetric part of G alone, whose energy, taken twice, is
    about that of G. In a band it is the energy of a G that is everywhere as there.
    """
    found = {}
    for path, layer in layers.items():
        gradient = layer.fourierft_spectrum.grad
        square = 0.0 if gradient is None else float(gradient.double().square().sum()) / matrices(layer)
        if not math.isfinite(square):
            raise FourierError(f"the gradient of {path} is not finite: lower the loss's scale, or leave out that batch")
        found[path] = square * (unit(layer) / layer.scale) ** 2 * math.prod(layer.matrix_shape)
    if not any(found.values()):
        raise FourierError(
            "no coefficient has a gradient other than zero: run the backward passes of a few batches first, on an "
            "unmerged model, and keep zero_grad for later"
        )
    return found


def _share_out(
    budget: int, floor: int, energy: Mapping[str, float], parts: Mapping[str, int], most: Mapping[str, int]
) -> dict[str, int]:
    """Whole numbers in proportion to the energies above the floor, none above `most`; largest remainders first."""
    share: dict[str, float] = {}
    free = list(energy)
    while free:
        left = budget - sum(parts[path] * share[path] for path in share) - floor * sum(parts[path] for path in free)
        weight = {path: energy[path] for path in free} if any(energy[path] for path in free) else dict.fromkeys(free, 1)
        whole = math.fsum(parts[path] * weight[path] for path in free)
        shares = {path: floor + left * weight[path] / whole for path in free}
        full = {path: most[path] for path in free if shares[path] > most[path]}
        share |= full or shares
        free = [path for path in free if path not in share]
    n = {path: int(share[path]) for path in energy}
    rest = budget - sum(parts[path] * n[path] for path in n)
    while takers := [path for path in n if parts[path] <= rest and n[path] < most[path]]:
        first = max(takers, key=lambda path: share[path] - n[path])
        n[first] += 1
        rest -= parts[first]
    return n

"""Training of a batch of networks, and the search for learning rate and alpha, with equal effort for every method."""

import statistics
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Generator
from torch.nn.functional import cross_entropy

from experiments.studies.expressive.data import LABELS, points
from experiments.studies.expressive.model import Network
from experiments.studies.expressive.outcome import Method, Trial, Variant

# (rate, alpha), sixteen each. Adam divides gradients by their size, so of a change that is linear in what trains, and
# starts from zero, alpha is but a factor of the rate: of all of it, and of nothing, the rate alone, more finely.
RATES = [(1e-4 * 2**power, 1.0) for power in range(16)]
GRIDS: dict[Method, list[tuple[float, float]]] = {
    "lora": list(product((0.003, 0.01, 0.03, 0.1), (0.25, 1.0, 4.0, 16.0))),
    "fourierft": list(product((0.03, 0.1, 0.3, 1.0), (30.0, 100.0, 300.0, 1000.0))),
    "full": RATES,
    "none": RATES,
}


class Course(NamedTuple):
    """For each seed: the numbers of points that were right at some epochs; the first epoch at which all were; the final
    loss (nats)."""

    correct: list[list[int]]
    first: list[int | None]
    loss: list[float]


def generators(seeds: Sequence[int]) -> list[Generator]:
    """One generator per seed: it draws the points, then the network's layers, then the start of the change."""
    return [Generator().manual_seed(seed) for seed in seeds]


def train(network: Network, x: torch.Tensor, rate: float, epochs: Sequence[int], stop: bool = False) -> Course:
    """Adam on all points x (seeds, points, 2), one update per epoch, up to the last of `epochs`. stop: end once every
    seed has had all of its points right."""
    seeds, samples = x.shape[:2]
    labels = LABELS.expand(seeds, samples)
    optimizer = torch.optim.Adam(network.trained(), lr=rate)
    counted, first = [], [None] * seeds
    for epoch in range(epochs[-1] + 1):
        logits = network(x)
        correct = (logits.argmax(dim=-1) == labels).sum(dim=1).tolist()
        first = [epoch if one is None and count == samples else one for one, count in zip(first, correct, strict=True)]
        if epoch in epochs:
            counted.append(correct)
        losses = cross_entropy(logits.mT, labels, reduction="none").mean(dim=1)
        if epoch == epochs[-1] or (stop and None not in first):
            break
        optimizer.zero_grad()
        losses.sum().backward()  # a seed's gradient is of its own loss
        optimizer.step()
    return Course([list(counts) for counts in zip(*counted, strict=True)], first, losses.tolist())


def search(variant: Variant, method: Method, seeds: Sequence[int], epochs: int) -> list[Trial]:
    """The trials of the method's grid, each on all `seeds`, the best first."""
    trials = []
    for rate, alpha in GRIDS[method]:
        own = generators(seeds)
        x = points(variant.centres, own)
        course = train(Network(variant, method, alpha, own), x, rate, [epochs], stop=True)
        needed = statistics.mean(epochs + 1 if one is None else one for one in course.first)
        loss = statistics.mean(course.loss)
        trials.append(Trial(rate=rate, alpha=alpha, epochs=float(needed), loss=loss if loss < float("inf") else None))
    return sorted(trials, key=lambda trial: trial.key)

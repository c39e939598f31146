"""The network of Figure 7, 2 -> 64 -> 64 -> 8 with ReLU, and what may train of its 64 x 64 weight.

All seeds run side by side in one batch: every tensor has them as its first dimension, and no seed sees another. Each
draws from a generator of its own, always in the same order, so that all methods of a seed have the same layers.
"""

import torch
from torch import Generator, Tensor, nn

from experiments.studies.expressive.outcome import CLASSES, Method, Variant
from fourierft import Entries, reference

WIDTH = 64
N = 2 * WIDTH  # as many as LoRA has with r = 1


class Network(nn.Module):
    """One network per generator. alpha: the factor of the change."""

    def __init__(self, variant: Variant, method: Method, alpha: float, generators: list[Generator]) -> None:
        super().__init__()
        self.first = Layer(WIDTH, 2, generators)
        self.hidden = Layer(WIDTH, WIDTH, generators).requires_grad_(False)
        self.last = Layer(CLASSES, WIDTH, generators)
        for layer in (self.first, self.last):
            layer.requires_grad_(variant.around == "trained")
        if variant.hidden == "zero":
            nn.init.zeros_(self.hidden.weight)
        self.change = CHANGES[method](alpha, generators)

    def forward(self, x: Tensor) -> Tensor:
        """x: (seeds, points, 2). Returns the logits, (seeds, points, 8)."""
        x = self.first(x).relu()
        x = self.hidden(x, self.change()).relu()
        return self.last(x)

    def trained(self) -> list[nn.Parameter]:
        """The parameters that require a gradient."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def counts(self) -> dict[str, int]:
        """Trained parameters of one seed, in the change and around it."""
        seeds, change = len(self.hidden.weight), set(self.change.parameters())
        inside = sum(parameter.numel() for parameter in change)
        return {"change": inside // seeds, "around": (sum(p.numel() for p in self.trained()) - inside) // seeds}


class Layer(nn.Module):
    """`nn.Linear` with its own initialisation, U(-1/sqrt(in), 1/sqrt(in)), one per generator."""

    def __init__(self, out_features: int, in_features: int, generators: list[Generator]) -> None:
        super().__init__()
        self.weight = _uniform(generators, in_features, out_features, in_features)
        self.bias = _uniform(generators, in_features, 1, out_features)

    def forward(self, x: Tensor, change: Tensor | None = None) -> Tensor:
        weight = self.weight if change is None else self.weight + change
        return torch.baddbmm(self.bias, x, weight.mT)


class LoRA(nn.Module):
    """Rank one, alpha B A: A drawn as PEFT draws it, B zero. 128 parameters."""

    def __init__(self, alpha: float, generators: list[Generator]) -> None:
        super().__init__()
        self.alpha = alpha
        self.a = _uniform(generators, WIDTH, 1, WIDTH)
        self.b = nn.Parameter(torch.zeros(len(generators), WIDTH, 1))

    def forward(self) -> Tensor:
        return self.alpha * (self.b @ self.a)


class FourierFT(nn.Module):
    """128 coefficients from N(0, 1) at positions that differ by seed: the library's definition, one matrix per seed."""

    def __init__(self, alpha: float, generators: list[Generator]) -> None:
        super().__init__()
        self.alpha = alpha
        self.entries = [Entries(N, one.initial_seed()).sample((WIDTH, WIDTH)) for one in generators]
        self.c = nn.Parameter(torch.stack([torch.randn(N, generator=one) for one in generators]))

    def forward(self) -> Tensor:
        pairs = zip(self.c, self.entries, strict=True)
        return torch.stack([reference.delta_weight(c, entries, (WIDTH, WIDTH), self.alpha) for c, entries in pairs])


class Full(nn.Module):
    """The whole matrix, starting from zero: 4096 parameters."""

    def __init__(self, alpha: float, generators: list[Generator]) -> None:
        super().__init__()
        self.alpha = alpha
        self.delta = nn.Parameter(torch.zeros(len(generators), WIDTH, WIDTH))

    def forward(self) -> Tensor:
        return self.alpha * self.delta


class Nothing(nn.Module):
    """No change: the layers around it train alone."""

    def __init__(self, alpha: float, generators: list[Generator]) -> None:
        super().__init__()

    def forward(self) -> None:
        return None


CHANGES: dict[Method, type[nn.Module]] = {"lora": LoRA, "fourierft": FourierFT, "full": Full, "none": Nothing}


def _uniform(generators: list[Generator], in_features: int, *shape: int) -> nn.Parameter:
    bound = in_features**-0.5
    return nn.Parameter(torch.stack([torch.empty(shape).uniform_(-bound, bound, generator=one) for one in generators]))

"""Bottleneck adapters: x -> up(activation(down(x))), and where each kind of model has the places to put them.

The four methods that use it differ in place, activation and norm alone. Sizes: 2 d r + r + d an adapter, both biases
counted; nothing of the model but its head trains besides, no layer norm of its own either.
"""

import re
from collections.abc import Callable
from typing import Any

from pydantic import PositiveInt
from torch import Tensor, nn
from transformers.activations import ACT2FN

from experiments.errors import UserError
from experiments.methods.base import Method

INIT_STD = 1e-3  # Houlsby et al. 2019: near the identity, by a normal distribution truncated at two deviations

# The modules, by a pattern of their paths: what follows attention and feed-forward before the residual sum, and the
# layer norm after the second sum (a whole layer in GPT-2, whose norms come first).
PLACES = {
    "roberta": {
        "attention": r".*\.layer\.\d+\.attention\.output\.dropout",
        "feed_forward": r".*\.layer\.\d+\.output\.dropout",
        "norm": r".*\.layer\.\d+\.output\.LayerNorm",
    },
    "gpt2": {
        "attention": r".*\bh\.\d+\.attn\.resid_dropout",
        "feed_forward": r".*\bh\.\d+\.mlp\.dropout",
        "layer": r".*\bh\.\d+",
    },
}
PLACES["bert"] = PLACES["roberta"]

Hook = Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]


class Bottleneck(nn.Module):
    """x (..., d) -> up(activation(down(norm(x)))), (..., d), without the residual connection."""

    def __init__(self, d: int, r: int, activation: str, norm: bool, **like: Any):
        super().__init__()
        self.norm = nn.LayerNorm(d, **like) if norm else nn.Identity()
        self.down = nn.Linear(d, r, **like)
        self.activation = ACT2FN[activation]
        self.up = nn.Linear(r, d, **like)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=INIT_STD, a=-2 * INIT_STD, b=2 * INIT_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.activation(self.down(self.norm(x))))


class Adapter(Method):
    """Base of the bottleneck methods: `r` is the width of the bottleneck."""

    r: PositiveInt

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        super().adapt(model, attention, head)
        self.insert(model)
        return model

    def insert(self, model: nn.Module) -> None:
        """Attach the adapters to the frozen model."""
        raise NotImplementedError

    def hosts(self, model: nn.Module, place: str) -> list[nn.Module]:
        """The modules at a place, lowest layer first. Raises UserError for a kind of model without it."""
        kind = model.config.model_type
        known = sorted(kind for kind, places in PLACES.items() if place in places)
        if kind not in known:
            raise UserError(
                f"method={self.name}: no place known in a {kind} model, only in {', '.join(known)}; see PLACES"
            )
        return [module for path, module in model.named_modules() if re.fullmatch(PLACES[kind][place], path)]

    def attach(self, model: nn.Module, host: nn.Module, hook: Hook, activation: str, norm: bool = False) -> None:
        """Make a Bottleneck the host's submodule `adapter`; `hook` turns the host's output into the new one."""
        like = next(model.parameters())
        d = model.config.hidden_size
        host.adapter = Bottleneck(d, self.r, activation, norm, device=like.device, dtype=like.dtype)
        host.register_forward_hook(hook)


def residual(host: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """The hook of an adapter with its own residual connection behind `host`: output + adapter(output)."""
    return output + host.adapter(output)

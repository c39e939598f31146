"""The bottleneck of the adapters, the forms that it takes, and where a model has place for it: see `adapters.py`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.activations import ACT2FN

from experiments.errors import UserError

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


def residual(host: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """The hook of an adapter with its own residual connection behind `host`: output + adapter(output)."""
    return output + host.adapter(output)


def before_norm(norm: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """The hook of an adapter before the norm that hosts it: norm(s + adapter(norm(s))), given norm(s)."""
    return norm.forward(inputs[0] + norm.adapter(output))


@dataclass(frozen=True)
class Form:
    """Where adapters are put, what turns a host's output into the new one, and what they are made of."""

    places: tuple[str, ...]
    hook: Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]
    activation: str
    norm: bool = False


FORMS = {
    "adapter_houlsby": Form(("attention", "feed_forward"), residual, "silu"),
    "adapter_pfeiffer": Form(("norm",), before_norm, "relu"),
    "adapter_drop": Form(("norm",), before_norm, "relu"),
    "adapter_lin": Form(("layer",), residual, "relu", norm=True),
}


def insert(model: nn.Module, hosts: list[nn.Module], r: int, form: Form) -> None:
    """Give each host an adapter of width r, like the model's own parameters in device and dtype."""
    like = next(model.parameters())
    for host in hosts:
        host.adapter = Bottleneck(
            *(model.config.hidden_size, r, form.activation, form.norm), device=like.device, dtype=like.dtype
        )
        host.register_forward_hook(form.hook)


def hosts(model: nn.Module, place: str, method: str) -> list[nn.Module]:
    """The modules that get an adapter at a place, lowest layer first. Raises UserError where the model lacks it."""
    kind = model.config.model_type
    known = sorted(kind for kind, places in PLACES.items() if place in places)
    if kind not in known:
        raise UserError(f"method={method}: no place known in a {kind} model, only in {', '.join(known)}; see PLACES")
    return [module for path, module in model.named_modules() if re.fullmatch(PLACES[kind][place], path)]

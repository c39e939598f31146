"""Bottleneck adapters, x -> up(activation(down(x))), in the four forms of the paper's tables.

The forms differ in place, activation and norm alone:

- adapter_houlsby, `Adpt-H` of the tables: Houlsby et al. 2019 (arXiv:1902.00751). Two in every layer, behind attention
  and behind feed-forward, before the residual sum; swish, with a residual connection of its own. Houlsby et al. also
  train every layer norm; the LoRA paper's rows, which the paper repeats, do not.
- adapter_pfeiffer, `Adpt-P`: Pfeiffer et al. 2021 (arXiv:2005.00247). One in every layer, behind feed-forward. It reads
  the sum s of feed-forward's output and the residual through the layer's frozen norm, which is applied again behind it:
  norm(s + adapter(norm(s))); ReLU.
- adapter_drop, `Adpt-D`: AdapterDrop (Rueckle et al. 2021, arXiv:2010.11918). Pfeiffer's adapter, with none in the
  `drop` lowest layers, in training and in inference (their specialised form). The backward pass stops at the lowest
  adapter. Which layers the rows of the table keep is not published.
- adapter_lin, `Adpt-L` of Table 3 and `Adapter-L` of the LoRA paper: Lin et al. 2020 (arXiv:2004.03829). One behind
  every layer, on the residual stream h, with a layer norm of its own that trains too: h + up(ReLU(down(norm(h)))), so
  2 d r + r + 3 d parameters (the LoRA paper's section 5.1).

The first two are as in the code behind the LoRA paper's rows (microsoft/LoRA, examples/NLU, modeling_roberta.py). An
adapter without a norm has 2 d r + r + d parameters, both biases counted. Of the model itself only the head trains.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt
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


class Adapter(Method):
    """One form of adapters; `r` is the width of the bottleneck."""

    name: Literal["adapter_houlsby", "adapter_pfeiffer", "adapter_lin"]
    r: PositiveInt

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        super().adapt(model, attention, head)
        form, like = FORMS[self.name], next(model.parameters())
        for place in form.places:
            for host in self.hosts(model, place):
                host.adapter = Bottleneck(
                    *(model.config.hidden_size, self.r, form.activation, form.norm),
                    device=like.device,
                    dtype=like.dtype,
                )
                host.register_forward_hook(form.hook)
        return model

    def hosts(self, model: nn.Module, place: str) -> list[nn.Module]:
        """The modules that get an adapter at a place, lowest layer first. Raises UserError where the model lacks it."""
        kind = model.config.model_type
        known = sorted(kind for kind, places in PLACES.items() if place in places)
        if kind not in known:
            raise UserError(
                f"method={self.name}: no place known in a {kind} model, only in {', '.join(known)}; see PLACES"
            )
        return [module for path, module in model.named_modules() if re.fullmatch(PLACES[kind][place], path)]


class AdapterDrop(Adapter):
    """One adapter in every layer but the `drop` lowest."""

    name: Literal["adapter_drop"]
    drop: NonNegativeInt

    def hosts(self, model: nn.Module, place: str) -> list[nn.Module]:
        hosts = super().hosts(model, place)
        if self.drop >= len(hosts):
            raise UserError(
                f"method.drop={self.drop}: the model has {len(hosts)} layers; leave at least one its adapter"
            )
        return hosts[self.drop :]

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

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt, PositiveInt

from experiments.errors import UserError
from experiments.methods.base import Method

if TYPE_CHECKING:
    from torch import nn


class Adapter(Method):
    """One form of adapters; `r` is the width of the bottleneck."""

    name: Literal["adapter_houlsby", "adapter_pfeiffer", "adapter_lin"]
    r: PositiveInt

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        super().adapt(model, attention, head)
        from experiments.methods import bottleneck

        form = bottleneck.FORMS[self.name]
        for place in form.places:
            bottleneck.insert(model, self.hosts(model, place), self.r, form)
        return model

    def hosts(self, model: nn.Module, place: str) -> list[nn.Module]:
        """The modules that get an adapter at a place, lowest layer first. Raises UserError where the model lacks it."""
        from experiments.methods import bottleneck

        return bottleneck.hosts(model, place, self.name)


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

"""DyLoRA (Valipour et al. 2022, arXiv:2210.07558): one LoRA that is good at every rank up to r.

Each optimiser step draws a rank b from 1..r, the same in all layers, and trains the first b rows of A and columns of B
at scale alpha / b, as in the authors' code (huawei-noah/Efficient-NLP, DyLoRA/loralib); evaluation, delta_W and the
saved adapter use all r. `frozen` is their variant that trains row b and column b alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveFloat, PositiveInt

from experiments.methods.base import Method
from experiments.typed import Fraction

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import TrainerCallback


class DyLora(Method):
    """LoRA on the attention matrices, with a rank drawn at each step."""

    name: Literal["dylora"]
    r: PositiveInt
    alpha: PositiveFloat
    dropout: Fraction
    frozen: bool

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        from experiments.methods import low_rank

        super().adapt(model, attention, head)
        low_rank.insert(model, attention, r=self.r, alpha=self.alpha, dropout=self.dropout, frozen=self.frozen)
        return model

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        from experiments.methods import low_rank

        return low_rank.delta_weights(model)

    def callbacks(self) -> list[TrainerCallback]:
        from experiments.methods.callbacks import DrawRank

        return [DrawRank()]

"""DyLoRA (Valipour et al. 2022, arXiv:2210.07558): one LoRA that is good at every rank up to r.

Each optimiser step draws a rank b from 1..r, the same in all layers, and trains the first b rows of A and columns of B
at scale alpha / b, as in the authors' code (huawei-noah/Efficient-NLP, DyLoRA/loralib); evaluation, delta_W and the
saved adapter use all r. `frozen` is their variant that trains row b and column b alone.
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from transformers import TrainerCallback

from experiments.methods import low_rank
from experiments.methods.base import Method
from experiments.typed import Fraction


class DyLora(Method):
    """LoRA on the attention matrices, with a rank drawn at each step."""

    name: Literal["dylora"]
    r: PositiveInt
    alpha: PositiveFloat
    dropout: Fraction
    frozen: bool

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        super().adapt(model, attention, head)
        low_rank.insert(model, attention, r=self.r, alpha=self.alpha, dropout=self.dropout, frozen=self.frozen)
        return model

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        return low_rank.delta_weights(model)

    def callbacks(self) -> list[TrainerCallback]:
        return [DrawRank()]


class DrawRank(TrainerCallback):
    """Draws one rank for all layers before each optimiser step: a function of seed and step, so the same in a resumed
    run and on every process."""

    def on_step_begin(self, args, state, control, model: nn.Module, **kwargs):
        draw = random.Random(f"{args.seed} {state.global_step}")
        layers = [module for module in model.modules() if isinstance(module, low_rank.LowRank)]
        rank = draw.randint(1, layers[0].r)
        for layer in layers:
            layer.rank = rank

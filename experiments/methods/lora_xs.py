"""LoRA-XS (Balazy et al. 2024, arXiv:2405.17604): delta_W = (alpha / r) U S R V^T, of which R alone, r x r, trains.

U S V^T is the truncated singular value decomposition of W itself, computed again wherever the adapter is read: only R
is saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveFloat, PositiveInt

from experiments.errors import UserError
from experiments.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor, nn


class LoraXs(Method):
    """Rank r, scale alpha / r, R near zero at the start."""

    name: Literal["lora_xs"]
    r: PositiveInt
    alpha: PositiveFloat

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        from experiments.methods import cores

        if fused := [target for target in attention if ":" in target]:
            raise UserError(f"method={self.name}: a part of a fused projection, such as {fused[0]}, cannot be adapted")
        super().adapt(model, attention, head)
        cores.insert(model, attention, r=self.r, alpha=self.alpha)
        return model

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        from experiments.methods import cores

        return cores.delta_weights(model)

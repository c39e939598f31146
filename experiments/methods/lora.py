"""LoRA (Hu et al. 2021): delta_W = (alpha / r) B A. By peft; on parts of a fused projection by `low_rank`.

One method under three names: `lora` and `lora_qv` adapt the model's attention matrices, as the paper's LoRA does;
`lora_all` adapts every linear layer except the output's, as in the dagger rows of the paper's Table 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveFloat, PositiveInt

from experiments.methods.base import Method
from experiments.methods.by_peft import ByPeft
from experiments.typed import Fraction

if TYPE_CHECKING:
    import peft
    from torch import Tensor, nn


class Lora(ByPeft):
    """Rank r, scale alpha / r, B zero at the start."""

    name: Literal["lora", "lora_qv", "lora_all"]
    r: PositiveInt
    alpha: PositiveFloat
    dropout: Fraction

    def configuration(self, **names: list[str]) -> peft.LoraConfig:
        import peft

        if self.name == "lora_all":
            names["target_modules"] = "all-linear"
        return peft.LoraConfig(r=self.r, lora_alpha=self.alpha, lora_dropout=self.dropout, **names)

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        attention = () if self.name == "lora_all" else attention  # then `configuration` names the layers
        if not any(":" in target for target in attention):
            return super().adapt(model, attention, head)
        from experiments.methods import low_rank

        Method.adapt(self, model, attention, head)
        low_rank.insert(model, attention, r=self.r, alpha=self.alpha, dropout=self.dropout, frozen=False)
        return model

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        from experiments.methods import low_rank

        yield from low_rank.delta_weights(model)
        yield from super().delta_weights(model)

    def save(self, model: nn.Module, folder: Path) -> None:
        import peft

        if isinstance(model, peft.PeftModel):
            super().save(model, folder)
        else:
            Method.save(self, model, folder)

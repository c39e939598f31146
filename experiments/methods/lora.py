"""LoRA (Hu et al. 2021), by peft: delta_W = (alpha / r) B A."""

from pathlib import Path
from typing import Annotated, Literal

import peft
from peft.tuners.lora import LoraLayer
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from experiments.methods.base import Method


class Lora(Method):
    """Rank r, scale alpha / r, B zero at the start."""

    name: Literal["lora"]
    r: PositiveInt
    alpha: PositiveFloat
    dropout: Annotated[float, Field(ge=0, lt=1)]

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        config = peft.LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(attention),
            modules_to_save=list(head),
        )
        return peft.get_peft_model(model, config)

    def delta_weights(self, model: nn.Module) -> dict[str, Tensor]:
        return {
            path.removeprefix("base_model.model."): module.get_delta_weight("default").detach().float()
            for path, module in model.named_modules()
            if isinstance(module, LoraLayer)
        }

    def save(self, model: nn.Module, folder: Path) -> None:
        model.save_pretrained(folder)

"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512), by peft: P diag(lambda) Q, whose rank budget moves between matrices.

Every matrix starts with rank `init_r`; between the shares `warmup` and 1 - `final` of all steps the least important
triplets are masked, every `interval` steps, until r a matrix is left on average. The schedule is in shares of a run
where the paper's is in steps. peft divides alpha by `init_r`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from experiments.methods.by_peft import ByPeft
from experiments.typed import Fraction

if TYPE_CHECKING:
    import peft
    from torch import Tensor, nn
    from transformers import TrainerCallback


class AdaLora(ByPeft):
    """`r` is the average rank in the end; beta1 and beta2 smooth the importance and its uncertainty."""

    name: Literal["adalora"]
    r: PositiveInt
    init_r: PositiveInt
    alpha: PositiveFloat
    dropout: Fraction
    warmup: Fraction
    final: Fraction
    interval: PositiveInt
    beta1: Annotated[float, Field(gt=0, lt=1)]
    beta2: Annotated[float, Field(gt=0, lt=1)]
    orthogonality: NonNegativeFloat

    def configuration(self, **names: list[str]) -> peft.AdaLoraConfig:
        import peft

        return peft.AdaLoraConfig(
            target_r=self.r,
            init_r=self.init_r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            deltaT=self.interval,
            beta1=self.beta1,
            beta2=self.beta2,
            orth_reg_weight=self.orthogonality,
            total_step=1,  # set when training begins: Allocate
            **names,
        )

    def penalty(self, model: nn.Module) -> Tensor:
        """`orthogonality` times the mean of |P^T P - I| and |Q Q^T - I|, as in AdaLoraModel.forward of peft, which a
        PeftModel without a task type does not call."""
        import torch

        distances = []
        for name, p in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                gram = p @ p.T if "lora_A" in name else p.T @ p
                distances.append(torch.norm(gram - torch.eye(len(gram), device=p.device, dtype=p.dtype)))
        return self.orthogonality * torch.stack(distances).mean()

    def callbacks(self) -> list[TrainerCallback]:
        from experiments.methods.callbacks import Allocate

        return [Allocate(self.warmup, self.final)]

    def save(self, model: nn.Module, folder: Path) -> None:
        """Without the triplets masked in `model` now: peft would leave out those masked at the end of training."""
        inner = model.base_model.model
        pattern = {name: (p != 0).flatten().tolist() for name, p in inner.named_parameters() if "lora_E" in name}
        model.peft_config["default"].rank_pattern = pattern
        super().save(model, folder)

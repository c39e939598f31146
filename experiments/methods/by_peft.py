"""Methods of peft: their common base, and any tuner of peft by its settings alone.

To add one beyond the paper takes a file in configs/method (its name, peft's name of the tuner, and fields of the
tuner's configuration) and its name below.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from experiments.errors import UserError
from experiments.methods.base import Method, task_type

if TYPE_CHECKING:
    import peft
    from torch import Tensor, nn


class ByPeft(Method):
    """Base of the methods of peft. Subclasses define the configuration."""

    def configuration(self, **names: list[str]) -> peft.PeftConfig:
        """The tuner's configuration; `names` are target_modules and modules_to_save."""
        raise NotImplementedError

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        if fused := [target for target in attention if ":" in target]:
            raise UserError(f"method={self.name}: peft cannot adapt a part of a fused projection, such as {fused[0]}")
        from experiments.methods import tuners

        return tuners.adapted(model, self, target_modules=list(attention), modules_to_save=list(head))

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """What merging adds to each weight, measured in float64 on a copy: right for any tuner that can merge.

        Over a quantised weight, what the tuner itself reports.
        """
        from experiments.methods import tuners

        return tuners.delta_weights(model)

    def save(self, model: nn.Module, folder: Path) -> None:
        # Not before training: a PeftModel of a task type computes and counts heads in ways of its own.
        model.peft_config["default"].task_type = task_type(model.get_base_model())
        model.save_pretrained(folder, save_embedding_layers=False)  # none train; "auto" asks the hub about the base's


class AnyTuner(ByPeft):
    """Any tuner of peft: `tuner` is its PeftType, `settings` are fields of its configuration."""

    name: Literal["c3a", "dora", "loha", "lokr", "oft", "randlora", "shira", "unilora", "vera", "waveft"]
    tuner: str
    settings: dict[str, JsonValue]

    def check(self) -> None:
        from experiments.methods import tuners

        tuners.check(self)

    def configuration(self, **names: list[str]) -> peft.PeftConfig:
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS

        return CONFIGS[self.tuner](**self.settings, **names)

"""Methods of peft: their common base, and any tuner of peft by its settings alone.

To add one beyond the paper takes a file in configs/method (its name, peft's name of the tuner, and fields of the
tuner's configuration) and its name below.
"""

import copy
import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import JsonValue, ValidationInfo, field_validator
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from experiments.errors import UserError
from experiments.methods.base import Method, task_type
from fourierft import quantized_shape

OURS = {"target_modules", "modules_to_save"}  # the fields of a configuration that the suite sets


class ByPeft(Method):
    """Base of the methods of peft. Subclasses define the configuration."""

    def configuration(self, **names: list[str]) -> peft.PeftConfig:
        """The tuner's configuration; `names` are target_modules and modules_to_save."""
        raise NotImplementedError

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        if fused := [target for target in attention if ":" in target]:
            raise UserError(f"method={self.name}: peft cannot adapt a part of a fused projection, such as {fused[0]}")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # raised within peft
                warnings.filterwarnings("ignore", "Specified to not save")  # chosen in configs/method
                names = {"target_modules": list(attention), "modules_to_save": list(head)}
                return peft.get_peft_model(model, self.configuration(**names))
        except (TypeError, ValueError) as error:
            raise UserError(f"method={self.name}: peft refuses these settings ({error})") from error

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """What merging adds to each weight, measured in float64 on a copy: right for any tuner that can merge.

        Over a quantised weight, what the tuner itself reports.
        """
        for path, module in model.named_modules():
            if isinstance(module, BaseTunerLayer) and isinstance(module.get_base_layer(), nn.Linear | Conv1D):
                yield path.removeprefix("base_model.model."), _merged_difference(module)

    def save(self, model: nn.Module, folder: Path) -> None:
        # Not before training: a PeftModel of a task type computes and counts heads in ways of its own.
        model.peft_config["default"].task_type = task_type(model.get_base_model())
        model.save_pretrained(folder, save_embedding_layers=False)  # none train; "auto" asks the hub about the base's


def _merged_difference(layer: BaseTunerLayer) -> Tensor:
    if quantized_shape(layer.get_base_layer()):  # a merged weight would be rounded again
        return layer.get_delta_weight("default").detach().float()
    layer = copy.deepcopy(layer).double()
    base = layer.get_base_layer()
    before = base.weight.detach().clone()
    layer.merge()
    difference = (layer.get_base_layer().weight.detach() - before).float()
    return difference.T.contiguous() if isinstance(base, Conv1D) else difference


class AnyTuner(ByPeft):
    """Any tuner of peft: `tuner` is its PeftType, `settings` are fields of its configuration."""

    name: Literal["c3a", "dora", "loha", "lokr", "oft", "randlora", "shira", "vera", "waveft"]
    tuner: str
    settings: dict[str, JsonValue]

    @field_validator("tuner")
    @classmethod
    def _is_known(cls, tuner: str) -> str:
        if tuner not in _fields_by_tuner():
            raise ValueError(f"peft has no such tuner for target modules; choose from {', '.join(_fields_by_tuner())}")
        return tuner

    @field_validator("settings")
    @classmethod
    def _are_known(cls, settings: dict[str, JsonValue], info: ValidationInfo) -> dict[str, JsonValue]:
        known = _fields_by_tuner().get(info.data.get("tuner"), settings.keys())
        if unknown := sorted(settings.keys() - known):
            raise ValueError(f"no setting {unknown[0]} in {info.data['tuner']}; it has {', '.join(sorted(known))}")
        return settings

    def configuration(self, **names: list[str]) -> peft.PeftConfig:
        return CONFIGS[self.tuner](**self.settings, **names)


def _fields_by_tuner() -> dict[str, set[str]]:
    """Tuner -> its own settings, for every tuner that adapts target modules beside a trained head."""
    fields = {kind.value: {field.name for field in dataclasses.fields(config)} for kind, config in CONFIGS.items()}
    common = {field.name for field in dataclasses.fields(peft.PeftConfig)}
    return {tuner: own - common - OURS for tuner, own in sorted(fields.items()) if own >= OURS}

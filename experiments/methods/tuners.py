"""The tuners of peft: their settings, a model adapted by one, and its delta_W."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from experiments.errors import UserError
from fourierft import quantized_shape

if TYPE_CHECKING:
    from experiments.methods.by_peft import AnyTuner, ByPeft

OURS = {"target_modules", "modules_to_save"}  # the fields of a configuration that the suite sets


def adapted(model: nn.Module, method: ByPeft, **names: list[str]) -> peft.PeftModel:
    """The model with what `method` adds; `names` as in `ByPeft.configuration`. Raises UserError where peft
    refuses."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # raised within peft
            warnings.filterwarnings("ignore", "Specified to not save")  # chosen in configs/method
            return peft.get_peft_model(model, method.configuration(**names))
    except (TypeError, ValueError) as error:
        raise UserError(f"method={method.name}: peft refuses these settings ({error})") from error


def delta_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """As `ByPeft.delta_weights`."""
    for path, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and isinstance(module.get_base_layer(), nn.Linear | Conv1D):
            yield path.removeprefix("base_model.model."), _merged_difference(module)


def _merged_difference(layer: BaseTunerLayer) -> Tensor:
    if quantized_shape(layer.get_base_layer()):  # a merged weight would be rounded again
        return layer.get_delta_weight("default").detach().float()
    layer = copy.deepcopy(layer).double()
    base = layer.get_base_layer()
    before = base.weight.detach().clone()
    layer.merge()
    difference = (layer.get_base_layer().weight.detach() - before).float()
    return difference.T.contiguous() if isinstance(base, Conv1D) else difference


def check(method: AnyTuner) -> None:
    """Raises UserError for a tuner or a setting that peft does not have."""
    fields = {kind.value: {field.name for field in dataclasses.fields(config)} for kind, config in CONFIGS.items()}
    common = {field.name for field in dataclasses.fields(peft.PeftConfig)} | OURS
    tuner, known = method.tuner, {tuner: own - common for tuner, own in sorted(fields.items()) if own >= OURS}
    if tuner not in known:
        raise UserError(
            f"method.tuner={tuner}: peft has no such tuner for target modules; choose from {', '.join(known)}"
        )
    if unknown := sorted(method.settings.keys() - known[tuner]):
        allowed = ", ".join(sorted(known[tuner]))
        raise UserError(f"method.settings={method.settings}: no setting {unknown[0]} in {tuner}; it has {allowed}")

"""Checkpoints of the Hugging Face Trainer that hold what trains, not the whole model."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file
from torch import Tensor, nn

from .io import save
from .model import adapted_layers

RESUMED_FROM = "model.safetensors"  # the name under which the Trainer looks for weights


def light_checkpoints(model: nn.Module) -> nn.Module:
    """Replaces `save_pretrained` of an adapted model of transformers, by which its Trainer writes every checkpoint.

        model = fourierft.light_checkpoints(fourierft.adapt(model, config))
        Trainer(model, ...).train(resume_from_checkpoint=...)

    From then on a checkpoint, and what `Trainer.save_model` writes, is an adapter, for `load` and PEFT, and a file
    model.safetensors of all parameters that train, under their names in the model. From the latter the Trainer resumes
    and takes the best model: that needs the model adapted in the same way first. Frozen weights and buffers are in no
    file. Returns the model. Raises FourierError for a model that is not adapted.
    """
    adapted_layers(model)
    trained, pretrained = set(_trained(model)), cast(Any, model)
    # The Trainer warns of keys that it misses in a checkpoint, unless they are exactly these.
    pretrained._keys_to_ignore_on_save = [name for name in model.state_dict() if name not in trained]
    # Not a method, which a pickle would look for in the class. A copy of the model saves itself.
    pretrained.save_pretrained = partial(_save_pretrained, model)
    return model


def _save_pretrained(
    model: nn.Module,
    save_directory: str | os.PathLike,
    is_main_process: bool = True,
    state_dict: Mapping[str, Tensor] | None = None,
    **_: Any,
) -> None:
    """state_dict: the gathered tensors of a model that FSDP or DeepSpeed shards; the Trainer gives it."""
    if not is_main_process:
        return
    save(model, save_directory, state_dict=state_dict)
    tensors = model.state_dict() if state_dict is None else state_dict
    state = {name: tensors[name].detach().cpu().contiguous() for name in _trained(model)}
    save_file(state, Path(save_directory) / RESUMED_FROM, metadata={"format": "pt"})


def _trained(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]

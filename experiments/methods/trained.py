"""What of a model trains: set apart from what is frozen, checked, counted, saved; and the matrices that are adapted."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback
from transformers.pytorch_utils import Conv1D

import fourierft
from experiments.errors import UserError
from experiments.models.heads import is_head
from experiments.sharding import whole


def freeze(model: nn.Module, head: tuple[str, ...], trains: Callable[[str], bool]) -> nn.Module:
    """Freeze `model` except its head and the parameters whose name `trains`. Raises UserError as `check_kept`."""
    for name, parameter in model.named_parameters():
        if trained := is_head(name, head) or trains(name):
            _check_float32(name, parameter)
        parameter.requires_grad = trained
    return model


def check_kept(model: nn.Module) -> None:
    """Raises UserError for what training would change and lose: parameters that are not float32 lose small steps in
    rounding, and running statistics are in no adapter and in no checkpoint."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            _check_float32(name, parameter)
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is not None:
            raise UserError(
                f"{name} is a {type(module).__name__}: its running statistics change in training though it is frozen, "
                "and what is saved would not be the model that was scored; take a model without batch norm"
            )


def _check_float32(name: str, parameter: nn.Parameter) -> None:
    if parameter.dtype != torch.float32:
        raise UserError(f"{name} trains and is {parameter.dtype}: take task.base=fp32, or a method that freezes it")


class Stateful(TrainerCallback):
    """A callback with state that checkpoints keep. When a run is resumed it finds the checkpoint itself."""

    def save(self, folder: Path) -> None:
        """Write the state into a checkpoint's folder. Called before the checkpoint is complete."""
        raise NotImplementedError


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Name -> detached CPU copy of every parameter that trains. Collective where they are sharded."""
    return {name: whole(p.detach()).cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}


def save(model: nn.Module, folder: Path) -> None:
    """Write every parameter that trains as trained.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(trained_state(model), folder / "trained.safetensors")


def count(model: nn.Module, head: tuple[str, ...]) -> dict[str, int]:
    """Exact counts of parameters: trained outside the head (the paper's number), trained in it, and in all.

    adapter_bytes: of the adapter's values as stored, 4 each in float32, without the headers of files.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    adapter = [p for name, p in trained if not is_head(name, head)]
    return {
        "adapter": sum(p.numel() for p in adapter),
        "head": sum(p.numel() for name, p in trained if is_head(name, head)),
        "total": fourierft.count(model).total,
        "adapter_bytes": sum(p.numel() * p.element_size() for p in adapter),
    }


def stored(folder: Path) -> dict[str, int]:
    """The size of what `Method.save` wrote into `folder`, which is all that the frozen model needs besides.

    stored_values: the numbers in all *.safetensors, the head's included. stored_bytes: of those files and of PEFT's
    adapter_config.json.
    """
    values, files = 0, sorted(folder.glob("*.safetensors"))
    for path in files:
        with safe_open(path, framework="pt") as file:
            values += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    files += folder.glob("adapter_config.json")
    return {"stored_values": values, "stored_bytes": sum(path.stat().st_size for path in files)}


def stored_sha256(folder: Path) -> str:
    """The digest of the tensors in all *.safetensors of the folder; for FourierFT it is also in the adapter's file."""
    tensors = {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
    return fourierft.digest(tensors)


def matched(model: nn.Module, target: str) -> tuple[dict[str, nn.Module], tuple[str, ...]]:
    """The modules, by path, that match a target such as "query" or "c_attn:q,v", and the parts that it names."""
    name, parts = fourierft.split_target(target)
    return {path: module for path, module in model.named_modules() if path and fourierft.matches(name, path)}, parts


def weights(model: nn.Module, attention: tuple[str, ...]) -> dict[str, Tensor]:
    """The matrices called `attention`, each (out, in), by path or path:part, as detached views."""
    found = {}
    for target in attention:
        modules, parts = matched(model, target)
        for path, module in modules.items():
            weight = module.weight.detach()
            weight = weight.T if isinstance(module, Conv1D) else weight
            for part, rows in fourierft.part_rows(weight.shape, parts).items():
                found[f"{path}:{part}" if part else path] = weight[rows]
    return found

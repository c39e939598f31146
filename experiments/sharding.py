"""FSDP2 by accelerate: each process keeps a shard of every parameter, of its gradient and of the optimiser's state.

The launcher asks for it (configs/launcher/fsdp.yaml). It holds during training alone: before and after it each process
has the whole model. Checkpoints hold gathered parameters and optimiser state, so a run may be resumed on another number
of processes, sharded or not.
"""

import copy
import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, parse_flag_from_env
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import TrainerCallback

from experiments.errors import UserError


def is_asked_for() -> bool:
    """Whether the launcher asks for sharding. Raises UserError for settings that would change the run or break it."""
    for other in ("DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG"):
        if parse_flag_from_env(f"ACCELERATE_USE_{other}"):
            raise UserError(f"accelerate launch with {other.lower()}: not supported; use a file of configs/launcher/")
    if not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return False
    for variable, allowed, remedy in (
        ("FSDP_VERSION", "2", "fsdp_version: 2"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "false", "train.checkpointing=true of the run"),
        ("FSDP_OFFLOAD_PARAMS", "false", "fsdp_offload_params: false"),
    ):
        value = os.environ.get(variable, allowed)
        if value.lower() != allowed:
            raise UserError(f"{variable.lower()}: {value} in the launcher's file: not supported; use {remedy}")
    return True


def to_shard(model: nn.Module) -> nn.Module:
    """A copy of `model` on its device, to be sharded; `model` itself moves to the host's memory."""
    device = next(model.parameters()).device
    return copy.deepcopy(model.cpu()).to(device)  # .to() also moves what is neither parameter nor buffer


def prepare(accelerator: Accelerator, model: nn.Module) -> None:
    """Make `accelerator` shard `model`, which it prepares next, layer by layer, without changing its precision.

    Three defaults of accelerate are switched off. It casts parameters and gradients, where a single process leaves
    casting to autocast; it lets the first process load the weights, which here every process has; and it fails on a
    block that the model's class wants in one piece and that holds the input embedding, which it shards separately.
    """
    state = accelerator.state
    if state.distributed_type == DistributedType.MULTI_CPU:  # accelerate has no type for FSDP on CPUs
        state.fsdp_plugin, state.distributed_type = FullyShardedDataParallelPlugin(), DistributedType.FSDP
    state.fsdp_plugin.mixed_precision_policy = None
    state.fsdp_plugin.cpu_ram_efficient_loading = False
    embedding = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    kept = {type(part).__name__ for part in model.modules() if embedding not in part.modules()}
    state.fsdp_plugin.transformer_cls_names_to_wrap = sorted(
        kept & set(getattr(model, "_no_split_modules", None) or ())
    )


class Shares(TrainerCallback):
    """Prints how much of the model the first process holds."""

    def on_train_begin(self, args, state, control, model: nn.Module, **kwargs):
        if state.is_world_process_zero:
            held = sum(p.to_local().numel() if isinstance(p, DTensor) else p.numel() for p in model.parameters())
            print(f"sharded: the first process holds {held:,} of {sum(p.numel() for p in model.parameters()):,} values")


def whole(tensor: Tensor) -> Tensor:
    """The tensor, gathered if it is sharded; gathering is collective: every process has to call."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def keep_state_whole(optimizer: torch.optim.Optimizer) -> None:
    """Make `optimizer` save a gathered state and load one. Its state_dict() becomes collective."""
    optimizer.register_state_dict_post_hook(_gather)
    optimizer.register_load_state_dict_pre_hook(_distribute)


def _gather(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    moments = {i: {k: whole(v) if torch.is_tensor(v) else v for k, v in of.items()} for i, of in state["state"].items()}
    return {**state, "state": moments}


def _distribute(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def share(value: Any, parameter: Tensor) -> Any:
        if not isinstance(parameter, DTensor) or not torch.is_tensor(value) or value.shape != parameter.shape:
            return value  # such as the number of steps
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)

    moments = {i: {k: share(v, parameters[i]) for k, v in of.items()} for i, of in state["state"].items()}
    return {**state, "state": moments}

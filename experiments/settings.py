"""The settings of a run beside task, method and model: hyper-parameters, execution, tracking, records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from experiments import processes
from experiments.errors import UserError
from experiments.record import is_slow_in_bf16, usable_cores
from experiments.typed import Fraction, Share, Typed, UserPath

if TYPE_CHECKING:
    import torch


class Recipe(Typed):
    """Hyper-parameters of one (task, model, method), with their source."""

    source: str
    trials: PositiveInt | None
    epochs: PositiveInt
    batch_size: PositiveInt
    lr: PositiveFloat
    head_lr: PositiveFloat
    max_length: PositiveInt | None
    weight_decay: NonNegativeFloat
    warmup_ratio: Fraction
    schedule: Literal["linear", "cosine", "constant_with_warmup"]
    max_grad_norm: NonNegativeFloat


class Train(Typed):
    """How a run is executed."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["fp32", "bf16", "fp16"]
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"]
    accumulation: PositiveInt
    eval_batch_size: PositiveInt
    checkpointing: bool
    group_by_length: bool
    workers: NonNegativeInt | None
    log_every: PositiveInt
    resume: bool
    keep_checkpoints: bool
    max_steps: PositiveInt | None
    rows: PositiveInt | None
    holdout: Share | None

    @field_validator("device", mode="before")
    @classmethod
    def _has_no_index(cls, device: str) -> str:
        kind, colon, index = str(device).partition(":")
        if kind == "cuda" and colon:
            raise ValueError(f"choose the GPU by the environment, CUDA_VISIBLE_DEVICES={index}, and train.device=cuda")
        return device

    def torch_device(self) -> str:
        """cuda or cpu. Raises UserError where a GPU is required and there is none."""
        import torch

        gpu = torch.cuda.is_available()
        if self.device == "cuda" and not gpu:
            raise UserError("train.device=cuda: no CUDA device is visible; use train.device=auto")
        return "cuda" if gpu and self.device != "cpu" else "cpu"

    def autocast(self) -> torch.autocast:
        """The context in which a model computes in `precision`."""
        import torch

        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        return torch.autocast(self.torch_device(), dtype=dtype, enabled=dtype is not None)

    def warning(self) -> str | None:
        """What makes a run far slower on this machine than it need be, and the remedy; None where nothing does."""
        if self.precision != "bf16" or self.torch_device() != "cpu" or not is_slow_in_bf16():
            return None
        return (
            "train.precision=bf16: this CPU has no instructions for it, and takes many times as long as in fp32; "
            "train.precision=fp32 is another run, with a record of its own"
        )

    def attention_kernel(self) -> str:
        """The implementation to ask transformers for; `auto` avoids SDPA on CPUs, where its backward pass is slow."""
        if self.attention != "auto":
            return self.attention
        return "sdpa" if self.torch_device() == "cuda" else "eager"

    def loader_processes(self) -> int:
        """The number of loader processes: `workers`, or this process's share of the cores, at most 16."""
        cores = usable_cores() // processes.count_here()
        return min(cores, 16) if self.workers is None else self.workers

    @property
    def is_trial(self) -> bool:
        """Whether the run is cut short or evaluated on training rows: a test or a trial, never in a table."""
        return any(value is not None for value in (self.max_steps, self.rows, self.holdout))


class Tracking(Typed):
    """Weights & Biases."""

    mode: Literal["offline", "online", "off"]
    project: str
    entity: str | None


class RecordFolder(Typed):
    """Where records go."""

    dir: UserPath

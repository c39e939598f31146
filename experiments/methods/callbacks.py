"""What methods do in training beyond gradient steps, as callbacks of the Trainer."""

import random
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

import fourierft
from experiments.methods.low_rank import LowRank
from experiments.methods.trained import Stateful

STATE = "rank_allocator.pt"


class Gradients(TrainerCallback):
    """Warns, before the first step, of coefficients that receive no gradient."""

    def on_train_begin(self, *args, **kwargs):
        self.told = False

    def on_pre_optimizer_step(self, args, state, control, model: nn.Module, **kwargs):
        if not self.told:
            self.told = True
            fourierft.check_gradients(model)


class DrawRank(TrainerCallback):
    """Draws one rank for all layers before each optimiser step: a function of seed and step, so the same in a resumed
    run and on every process."""

    def on_step_begin(self, args, state, control, model: nn.Module, **kwargs):
        draw = random.Random(f"{args.seed} {state.global_step}")
        layers = [module for module in model.modules() if isinstance(module, LowRank)]
        rank = draw.randint(1, layers[0].r)
        for layer in layers:
            layer.rank = rank


class Allocate(Stateful):
    """Calls peft's allocator in every step, while gradients are there, and keeps its state in the checkpoints."""

    def __init__(self, warmup: float, final: float):
        self.warmup, self.final = warmup, final

    def on_train_begin(self, args, state, control, model: nn.Module, **kwargs):
        self.allocator = model.base_model.rankallocator
        config = self.allocator.peft_config
        config.total_step = state.max_steps
        config.tinit = int(self.warmup * state.max_steps)
        config.tfinal = int(self.final * state.max_steps)
        if state.global_step:  # the run is resumed
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE
            saved = torch.load(path, weights_only=True)
            config.rank_pattern = saved.pop("rank_pattern")
            for name, moments in saved.items():
                setattr(self.allocator, name, moments)

    def on_optimizer_step(self, args, state, control, model: nn.Module, **kwargs):
        model.base_model.update_and_allocate(state.global_step)

    def save(self, folder: Path) -> None:
        state: dict[str, Any] = {name: getattr(self.allocator, name) for name in ("ipt", "exp_avg_ipt", "exp_avg_unc")}
        torch.save({**state, "rank_pattern": self.allocator.peft_config.rank_pattern}, folder / STATE)

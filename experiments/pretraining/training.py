"""A pre-training in a folder, which resumes from a complete checkpoint of the same settings there.

The same seed, library versions and number of threads give the same weights.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, set_seed

from experiments.checkpoints import Manifests, to_resume
from experiments.record import config_hash, is_slow_in_bf16

SHARED = {
    "weight_decay": 0.05,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.05,  # of all steps
    "logging_steps": 100,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "report_to": "none",
}


@dataclass(frozen=True)
class Order:
    """How to pre-train: into which folder, with which seed and precision, for how many steps, on which real data."""

    out: Path
    seed: int = 0
    bf16: bool = False
    steps: int | None = None
    assets: Path | None = None

    def settings(self, epochs: int, batch_size: int, lr: float, workers: int = 0) -> dict[str, Any]:
        """The Trainer's settings that differ from model to model."""
        return {
            "num_train_epochs": epochs,
            "max_steps": self.steps or -1,
            "per_device_train_batch_size": batch_size,
            "per_device_eval_batch_size": 4 * batch_size,
            "learning_rate": lr,
            "seed": self.seed,
            "dataloader_num_workers": workers,
        }


class Pretraining:
    """Seeds everything; make the model of `config` after this. settings: the Trainer's, which override SHARED."""

    def __init__(self, order: Order, config: PreTrainedConfig, settings: dict[str, Any]):
        self.out, bf16 = order.out, order.bf16
        self.stamp = {"settings": config_hash({"model": config.to_dict(), "bf16": bf16, **settings})}
        use_cpu = not torch.cuda.is_available()
        if bf16 and use_cpu and is_slow_in_bf16():
            print("--bf16: this CPU has no instructions for it, and takes many times as long as without --bf16")
        self.arguments = TrainingArguments(str(self.out), bf16=bf16, use_cpu=use_cpu, **{**SHARED, **settings})
        set_seed(self.arguments.seed)

    def train(self, trainer: Trainer, *callbacks: TrainerCallback) -> dict[str, float]:
        """Train to the end; returns the metrics on held-out data."""
        for callback in (Manifests(self.stamp), *callbacks):
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=to_resume(self.out, self.stamp))
        return trainer.evaluate()

    def save(self, model: PreTrainedModel) -> None:
        """Save the model in fp16, and remove the checkpoints."""
        model.half().save_pretrained(self.out)
        for checkpoint in self.out.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)

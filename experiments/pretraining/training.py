"""A pre-training in a folder, which resumes from a complete checkpoint of the same settings there.

The same seed, library versions and number of threads give the same weights.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, set_seed

from experiments.checkpoints import Manifests, to_resume
from experiments.record import config_hash

SHARED = {
    "weight_decay": 0.05,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.05,  # of all steps
    "logging_steps": 100,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "report_to": "none",
}


class Pretraining:
    """Seeds everything; make the model of `config` after this. settings: the Trainer's, which override SHARED."""

    def __init__(self, config: PreTrainedConfig, out: Path, settings: dict[str, Any], bf16: bool):
        self.stamp = {"settings": config_hash({"model": config.to_dict(), "bf16": bf16, **settings})}
        use_cpu = not torch.cuda.is_available()
        self.arguments = TrainingArguments(str(out), bf16=bf16, use_cpu=use_cpu, **{**SHARED, **settings})
        self.out = out
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

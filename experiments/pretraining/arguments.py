"""The Trainer's settings that every pre-training which can be interrupted shares."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, TrainingArguments

from experiments.checkpoints import Stamp
from experiments.record import config_hash


def arguments(out: Path, bf16: bool, settings: dict[str, Any]) -> TrainingArguments:
    """AdamW with a cosine schedule; a checkpoint in `out` and an evaluation each epoch. `settings` win."""
    shared = {
        "weight_decay": 0.05,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,  # of all steps
        "logging_steps": 100,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "report_to": "none",
    }
    use_cpu = not torch.cuda.is_available()
    return TrainingArguments(output_dir=str(out), bf16=bf16, use_cpu=use_cpu, **{**shared, **settings})


def stamp(config: PreTrainedConfig, bf16: bool, settings: dict[str, Any]) -> Stamp:
    """What tells the checkpoints of one pre-training from those of another in the same folder."""
    return {"settings": config_hash({"model": config.to_dict(), "bf16": bf16, **settings})}

"""The Trainer's settings that every pre-training which can be interrupted shares."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments


def arguments(out: Path, bf16: bool, settings: dict[str, Any]) -> TrainingArguments:
    """AdamW with a cosine schedule; a checkpoint in `out` and an evaluation each epoch. `settings` win."""
    shared = {
        "weight_decay": 0.05,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,  # of all steps
        "logging_steps": 100,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "report_to": "none",
    }
    use_cpu = not torch.cuda.is_available()
    return TrainingArguments(output_dir=str(out), bf16=bf16, use_cpu=use_cpu, **{**shared, **settings})

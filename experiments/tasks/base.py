"""What a task hands to training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset
from transformers import EvalPrediction
from transformers.trainer_utils import PredictionOutput

from experiments.tracking import Off


@dataclass(frozen=True)
class Prepared:
    """A model with a new head, the data in the form that it reads, and how its predictions are judged.

    test: scored once, after training, by the best checkpoint on validation and by the last. None: validation is all
    that is reported. show: given the best checkpoint's predictions on test, the run's folder and the tracker, it
    leaves there what a person should see. skipped: rows of each split left out as unreadable.
    """

    model: nn.Module
    train: Dataset
    validation: Dataset
    collate: Callable[[list[dict]], dict[str, Any]]
    metrics: Callable[[EvalPrediction], dict[str, float]]
    primary: str
    direction: str  # max | min: where the primary metric is better
    lengths: bool = True  # whether rows differ in length
    test: Dataset | None = None
    show: Callable[[PredictionOutput, Path, Off], None] | None = None
    skipped: dict[str, int] | None = None

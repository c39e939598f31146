"""What a task hands to training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from torch import nn
from transformers import EvalPrediction


@dataclass(frozen=True)
class Prepared:
    """A model with a new head, the data in the form that it reads, and how its predictions are judged."""

    model: nn.Module
    train: Dataset
    validation: Dataset
    collate: Callable[[list[dict]], dict[str, Any]]
    metrics: Callable[[EvalPrediction], dict[str, float]]
    primary: str
    direction: str  # max | min: where the primary metric is better

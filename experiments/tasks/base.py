"""What a task hands to training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset as Rows
from torch import nn
from torch.utils.data import Dataset
from transformers import EvalPrediction
from transformers.trainer_utils import PredictionOutput

from experiments.errors import UserError
from experiments.tracking import Off

HOLDOUT_SEED = 0  # of the slice of train that a search chooses on: the same for every method


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


def hold_out(train: Rows, share: float) -> dict[str, Rows]:
    """train and validation, both of the training rows: what a search chooses on."""
    halves = train.train_test_split(test_size=share, seed=HOLDOUT_SEED)
    return {"train": halves["train"], "validation": halves["test"]}


def check_labels(labels: np.ndarray, top: float, where: str, of: str) -> None:
    """Raises UserError where a label (rows,) is outside 0..top, or where there is none. `of`: the set, in words."""
    wrong = labels[~((labels >= 0) & (labels <= top))]
    if len(labels) == 0 or len(wrong):
        problem = f"label {wrong[0]:g} is outside 0..{top:g}" if len(wrong) else "it has no rows"
        raise UserError(f"{where}: {problem}; use a labelled split of {of}")

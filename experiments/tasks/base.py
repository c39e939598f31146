"""What a task hands to training."""

import hashlib
from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset as Rows
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import EvalPrediction
from transformers.trainer_utils import PredictionOutput
from transformers.utils import ModelOutput

from experiments import processes
from experiments.data.assets import Source
from experiments.record import replace_lines
from experiments.tracking import Off

HOLDOUT_SEED = 0  # of the slice of train that a search chooses on: the same for every method


Loss = Callable[[ModelOutput, Tensor], Tensor]
Predict = Callable[[Dataset], PredictionOutput]
Merged = Callable[[], AbstractContextManager]  # within it the model is `Method.merged`: faster, token by token


@dataclass(frozen=True)
class Tested:
    """A model's metrics on the test set, and what leaves in the run's folder and at the tracker what one should see."""

    metrics: dict[str, float]
    show: Callable[[Path, Off], None]


@dataclass(frozen=True)
class Prepared:
    """A model, with a new head where it needs one, the data in the form that it reads, and how it is judged.

    loss: the mean over the labelled items of a batch, of the model's output and the labels. metrics: of a whole
    evaluation, its "loss" included. reduce: logits and labels to what `metrics` needs, before they are collected.
    test: the rows of the test set; score: the trained model on them, given the Trainer's prediction, a folder with the
    trained weights, and what merges them for a while. Neither: validation is all that is reported. shown: the epoch
    that a person is to see, the paper's choice. skipped: unreadable rows of each split.
    """

    model: nn.Module
    train: Dataset
    validation: Dataset
    collate: Callable[[list[dict]], dict[str, Any]]
    metrics: Callable[[EvalPrediction], dict[str, float]]
    primary: str
    direction: str  # max | min: where the primary metric is better
    loss: Loss
    lengths: bool = True  # whether rows differ in length
    reduce: Callable[[Tensor, Tensor], Tensor] | None = None
    test: Sized | None = None
    score: Callable[[nn.Module, Predict, Path, Merged], Tested] | None = None
    shown: Literal["best", "last"] = "best"
    skipped: dict[str, int] | None = None


def identity(data: Source, content: Callable[[], Iterable[bytes]]) -> dict[str, Any]:
    """What a record says of the data; of those that are generated, the sha256 of their content."""
    if data.source != "embedded":
        return data.identity()
    digest = hashlib.sha256()
    for part in content():
        digest.update(part)
    return {**data.identity(), "sha256": digest.hexdigest()}


def first_rows(splits: dict[str, Rows], count: int | None) -> dict[str, Rows]:
    """Of each split its first `count` rows at most; all of them where that is None."""
    if count is None:
        return splits
    return {split: rows.select(range(min(count, len(rows)))) for split, rows in splits.items()}


def write_table(path: Path, columns: Sequence[str], table: Iterable[Sequence[Any]]) -> None:
    """A JSON object a row, at once or not at all; by the first of several processes alone."""
    if processes.is_first():
        replace_lines(path, (dict(zip(columns, row, strict=True)) for row in table), ascii_only=False)


def hold_out(train: Rows, share: float) -> dict[str, Rows]:
    """train and validation, both of the training rows: what a search chooses on."""
    halves = train.train_test_split(test_size=share, seed=HOLDOUT_SEED)
    return {"train": halves["train"], "validation": halves["test"]}


def class_loss(outputs: ModelOutput, labels: Tensor) -> Tensor:
    """The mean cross-entropy of logits (rows, classes) and labels (rows,)."""
    return cross_entropy(outputs.logits, labels)


def evaluated(loss: Loss, outputs: EvalPrediction) -> dict[str, float]:
    """The loss over all rows of an evaluation that collected logits."""
    logits, labels = map(torch.from_numpy, (outputs.predictions, outputs.label_ids))
    return {"loss": float(loss(ModelOutput(logits=logits), labels))}

"""What a task is: where its data are, what is in them, and what it hands to training."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments import processes
from experiments.data.assets import Assets, Model, Source
from experiments.errors import UserError
from experiments.record import replace_lines
from experiments.settings import Recipe, Train
from experiments.typed import Typed

if TYPE_CHECKING:
    from datasets import Dataset as Rows
    from torch import Tensor, nn
    from torch.utils.data import Dataset
    from transformers import EvalPrediction
    from transformers.trainer_utils import PredictionOutput
    from transformers.utils import ModelOutput

    from experiments.tracking import Tracker

HOLDOUT_SEED = 0  # of the slice of train that a search is evaluated on: the same for every method


Loss = Callable[["ModelOutput", "Tensor"], "Tensor"]
Predict = Callable[["Dataset"], "PredictionOutput"]
Merged = Callable[[], AbstractContextManager]  # within it the model is `Method.merged`: faster, token by token
Splits = dict[str, "Rows"]  # split -> its rows


@dataclass(frozen=True)
class Tested:
    """A model's metrics on the test set. show: leaves pictures and tables of them in a folder and at the tracker."""

    metrics: dict[str, float]
    show: Callable[[Path, Tracker], None]


@dataclass(frozen=True)
class Prepared:
    """A model, with a new head where it needs one, its data as it reads them, and how it is evaluated.

    loss: from the model's output and the labels to the mean over the labelled items of a batch. metrics: of a whole
    evaluation, "loss" among them. reduce: turns logits and labels into what `metrics` needs, batch by batch. test: the
    rows of the test set. score: evaluates the trained model on them, given the Trainer's prediction, a folder with the
    trained weights, and a context in which they are merged. Without both, validation alone is reported. shown: the
    epoch whose results a person is shown, as in the paper. skipped: the number of unreadable rows of each split.
    """

    model: nn.Module
    train: Dataset
    validation: Dataset
    collate: Callable[[list[dict]], dict[str, Any]]
    metrics: Callable[[EvalPrediction], dict[str, float]]
    primary: str
    direction: Literal["max", "min"]  # where the primary metric is better
    loss: Loss
    lengths: bool = True  # whether rows differ in length
    reduce: Callable[[Tensor, Tensor], Tensor] | None = None
    test: Sized | None = None
    score: Callable[[nn.Module, Predict, Path, Merged], Tested] | None = None
    shown: Literal["best", "last"] = "best"
    skipped: dict[str, int] | None = None


class Task(Typed):
    """Base of the tasks: find -> load -> prepare.

    To add one, subclass it in a file of this folder, with a `family` of its own and fields for the facts of a set, give
    these facts in configs/task/<name>.yaml, and add the class to `AnyTask`. What a subclass has to define:

        name       as in configs/task/
        local      where its files belong below <assets.root>/datasets, for a person to read
        rows       how many rows each split of the whole set has (or override `counts`)
        locate     where the files are: local, cached, or on the hub
        read_split a split's files -> its rows, checked; or `read`, all splits at once
        miniature  the source of the generated rows of the same kind, for scale mini
        generate   these rows
        prepare    a model and the rows -> `Prepared`
    """

    @property
    def counts(self) -> dict[str, int]:
        """The rows of each split of the whole set."""
        return self.rows

    def find(self, assets: Assets, mini: bool) -> Source | None:
        """Where the data are, None where they are out of reach; generated data at scale mini."""
        return self.miniature() if mini else self.locate(assets)

    @abstractmethod
    def locate(self, assets: Assets) -> Source | None:
        """The files of the whole set, None where they are neither local, nor cached, nor to be had from the hub."""

    @abstractmethod
    def miniature(self) -> Source:
        """What a record says of the generated data: a source without files."""

    def load(self, source: Source) -> Splits:
        """The rows of every split. Raises UserError as `read_split` does."""
        return self.read(source) if source.files else self.generate()

    def read(self, source: Source) -> Splits:
        """The rows of every split in these files."""
        return {split: self.read_split(source, split) for split in self.counts}

    def read_split(self, source: Source, split: str) -> Rows:
        """The rows of one split. Raises UserError, with file, row and remedy, for what cannot be trained on."""
        raise NotImplementedError

    @abstractmethod
    def generate(self) -> Splits:
        """The generated rows of every split, always the same."""

    def content(self, splits: Splits) -> Iterable[bytes]:
        """Generated rows as bytes, for their digest."""
        return (json.dumps(list(rows)).encode() for rows in splits.values())

    def is_whole(self, splits: Splits) -> bool:
        """Whether there are as many rows as in the set of the paper."""
        return {split: len(rows) for split, rows in splits.items()} == self.counts

    def cut(self, splits: Splits, train: Train) -> Splits:
        """What a test or a trial uses: the first `train.rows` of each split; of the training rows alone, with a slice
        of them for validation, under `train.holdout`."""
        if train.rows is not None:
            splits = {split: rows.select(range(min(train.rows, len(rows)))) for split, rows in splits.items()}
        return self.hold_out(splits["train"], train.holdout) if train.holdout else splits

    def hold_out(self, train: Rows, share: float) -> Splits:
        """train and validation for a search, both from the training rows."""
        return self.halves(train, share, HOLDOUT_SEED)

    def halves(self, rows: Rows, share: float, seed: int) -> Splits:
        """train and validation, a share of the rows, or of their groups where they have any, drawn with `seed`."""
        from datasets import Dataset

        groups = self.groups(rows)
        units = rows if groups is None else Dataset.from_dict({"group": list(dict.fromkeys(groups))})
        drawn = units.train_test_split(test_size=share, seed=seed)
        halves = {"train": drawn["train"], "validation": drawn["test"]}
        if groups is None:
            return halves
        kept = {split: set(some["group"]) for split, some in halves.items()}
        return {split: rows.select([i for i, one in enumerate(groups) if one in some]) for split, some in kept.items()}

    def groups(self, rows: Rows) -> list[Any] | None:
        """The group of each row, where some are too much alike to be in both halves."""
        return None

    @abstractmethod
    def prepare(self, model: Model, weights: Source, data: Data, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Load the model, and bring the data into the form that it reads. With `train.holdout` there is no test set.

        Raises UserError for model or data that cannot be used.
        """


@dataclass(frozen=True)
class Data:
    """The data of a task as they were found: read once, when they are first asked for."""

    task: Task
    source: Source

    @cached_property
    def splits(self) -> Splits:
        """The rows of every split."""
        return self.task.load(self.source)

    @cached_property
    def sha256(self) -> str:
        """The digest of the files, or of the rows that were generated."""
        if self.source.files:
            return self.source.sha256
        digest = hashlib.sha256()
        for part in self.task.content(self.splits):
            digest.update(part)
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """What a record says of them."""
        return self.source.identity() | {"sha256": self.sha256}


def write_table(path: Path, columns: Sequence[str], table: Iterable[Sequence[Any]]) -> None:
    """Write one JSON object per row, atomically; on the first process alone."""
    if processes.is_first():
        replace_lines(path, (dict(zip(columns, row, strict=True)) for row in table), ascii_only=False)


def row_length(recipe: Recipe, model: Model, longest: int) -> int:
    """The most tokens of a row: recipe.max_length, or without one the `longest` that the model reads.

    Raises UserError where recipe.max_length is more than the model reads.
    """
    if recipe.max_length and recipe.max_length > longest:
        raise UserError(
            f"recipe.max_length={recipe.max_length}: {model.name} reads at most {longest} tokens; choose fewer"
        )
    return recipe.max_length or longest


def class_loss(outputs: ModelOutput, labels: Tensor) -> Tensor:
    """The mean cross-entropy of logits (rows, classes) and labels (rows,)."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(outputs.logits, labels)


def evaluated(loss: Loss, outputs: EvalPrediction) -> dict[str, float]:
    """The loss over all rows of an evaluation, from the collected logits."""
    import torch
    from transformers.utils import ModelOutput

    logits, labels = map(torch.from_numpy, (outputs.predictions, outputs.label_ids))
    return {"loss": float(loss(ModelOutput(logits=logits), labels))}

"""GLUE: seven sets, one path. The facts of a set stand in configs/task/glue_<set>.yaml."""

import functools
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn.functional import mse_loss
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, EvalPrediction
from transformers.utils import ModelOutput

from experiments.data.assets import Assets, Model, Source, find_dataset, read_split
from experiments.data.labels import as_classes, as_scores
from experiments.errors import UserError
from experiments.metrics.glue import Glue
from experiments.mini.glue import generate
from experiments.models.pretrained import read_model, read_tokenizer
from experiments.settings import Recipe, Train
from experiments.tasks.base import Prepared, class_loss, evaluated, first_rows, hold_out, identity
from experiments.typed import Typed

HUB = "nyu-mll/glue"  # <set>/<split>-00000-of-00001.parquet (seen)
TOP_SCORE = 5.0  # of a regression: STS-B's


class GlueTask(Typed):
    """One GLUE set: its input columns, its classes in the order of their labels (none for a regression), its metric."""

    family: Literal["glue"]
    name: str
    set: Literal["cola", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb"]
    inputs: tuple[str, ...] = Field(min_length=1, max_length=2)
    classes: tuple[str, ...]
    metric: str
    rows: dict[Literal["train", "validation"], PositiveInt]

    def find(self, assets: Assets, mini: bool) -> Source | None:
        """Where the data are; the generated set of the same kind at scale mini."""
        if mini:
            return Source(f"mini/{self.set}", "embedded", "experiments.mini.glue", {})
        splits = {split: f"{self.set}/{split}-00000-of-00001.parquet" for split in self.rows}
        return find_dataset(self.local, splits, HUB, assets)

    @property
    def local(self) -> str:
        """The set's folder under <assets.root>/datasets."""
        return f"glue/{self.set}"

    def is_whole(self, source: Source) -> bool:
        """Whether the source holds as many rows as the set of the paper."""
        return all(len(self._read(source, split)) == rows for split, rows in self.rows.items())

    def prepare(self, model: Model, weights: Source, data: Source, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Load model and data.

        Raises UserError for a file that cannot be read, a column or
        a label that does not fit, or a maximum length that the model does not have.
        """
        splits = first_rows({split: self._read(data, split) for split in self.rows}, train.rows)
        if train.holdout:
            splits = hold_out(splits["train"], train.holdout)
        folder = weights.files["config.json"].parent
        tokenizer = read_tokenizer(folder)
        encoder = self._model(model, folder, train)
        longest = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        max_length = recipe.max_length
        if max_length > longest:
            raise UserError(
                f"recipe.max_length={max_length}: {model.name} reads at most {longest} tokens; choose fewer"
            )
        encode = functools.partial(self._encode, tokenizer=tokenizer, max_length=max_length)
        encoded = {
            split: rows.map(encode, batched=True, remove_columns=rows.column_names, desc=f"tokenising {split}")
            for split, rows in splits.items()
        }
        return Prepared(
            model=encoder,
            train=encoded["train"],
            validation=encoded["validation"],
            collate=DataCollatorWithPadding(tokenizer),
            metrics=functools.partial(self._score, Glue(config_name=self.set)),
            primary=self.metric,
            direction="max",
            loss=self._loss,
        )

    def _model(self, model: Model, folder: Path, train: Train) -> torch.nn.Module:
        dropout = (
            {}
            if model.dropout is None
            else {
                "hidden_dropout_prob": model.dropout,
                "attention_probs_dropout_prob": model.dropout,
            }
        )
        return read_model(
            AutoModelForSequenceClassification,
            folder,
            model.head,
            num_labels=max(1, len(self.classes)),
            problem_type=None if self.classes else "regression",
            dtype=torch.float32,
            attn_implementation=train.attention_kernel(),
            **dropout,
        )

    def _encode(self, rows: dict[str, list], tokenizer, max_length: int) -> dict[str, list]:
        encoded = tokenizer(*(rows[column] for column in self.inputs), truncation=True, max_length=max_length)
        encoded["labels"] = rows["label"]
        return encoded

    def _loss(self, outputs: ModelOutput, labels: Tensor) -> Tensor:
        return class_loss(outputs, labels) if self.classes else mse_loss(outputs.logits.squeeze(-1), labels)

    def _score(self, metric: Glue, outputs: EvalPrediction) -> dict[str, float]:
        predictions = np.argmax(outputs.predictions, axis=-1) if self.classes else outputs.predictions.squeeze(-1)
        scores = metric.compute(predictions=predictions, references=outputs.label_ids)
        return {**evaluated(self._loss, outputs), **scores}

    def identity(self, data: Source) -> dict[str, Any]:
        """What a record says of the data."""
        return identity(data, lambda: [json.dumps([list(self._read(data, split)) for split in self.rows]).encode()])

    def _read(self, data: Source, split: str) -> Dataset:
        if data.source == "embedded":
            return generate(self.set, split)
        rows, where = read_split(data, split, self.inputs, ["label"]), data.where(split)
        if not self.classes:
            return as_scores(rows, "label", TOP_SCORE, where)
        return as_classes(rows, "label", self.classes, where)

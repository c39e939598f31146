"""GLUE: seven sets, one path. The facts of a set stand in configs/task/glue_<set>.yaml."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveInt

from experiments.data.assets import Assets, Model, Source, find_dataset, read_split
from experiments.mini import glue
from experiments.settings import Recipe, Train
from experiments.tasks.base import Data, Prepared, Splits, Task, class_loss, evaluated, row_length

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import EvalPrediction
    from transformers.utils import ModelOutput

    from experiments.metrics.glue import Glue

HUB = "nyu-mll/glue"  # <set>/<split>-00000-of-00001.parquet (seen)
TOP_SCORE = 5.0  # of a regression: STS-B's


class GlueTask(Task):
    """One GLUE set: its input columns, its classes in the order of their labels (none for a regression), its metric."""

    family: Literal["glue"]
    name: str
    set: Literal["cola", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb"]
    inputs: tuple[str, ...] = Field(min_length=1, max_length=2)
    classes: tuple[str, ...]
    metric: str
    rows: dict[Literal["train", "validation"], PositiveInt]

    @property
    def local(self) -> str:
        """The set's folder under <assets.root>/datasets."""
        return f"glue/{self.set}"

    def locate(self, assets: Assets) -> Source | None:
        splits = {split: f"{self.set}/{split}-00000-of-00001.parquet" for split in self.rows}
        return find_dataset(self.local, splits, HUB, assets)

    def read_split(self, source: Source, split: str) -> Dataset:
        from experiments.data.labels import as_classes, as_scores

        rows, where = read_split(source, split, self.inputs, ["label"]), source.where(split)
        if not self.classes:
            return as_scores(rows, "label", TOP_SCORE, where)
        return as_classes(rows, "label", self.classes, where)

    def miniature(self) -> Source:
        return Source(f"mini/{self.set}", "embedded", glue.__name__, {})

    def generate(self) -> Splits:
        return {split: glue.generate(self.set, split) for split in self.rows}

    def content(self, splits: Splits) -> list[bytes]:
        return [json.dumps(list(map(list, splits.values()))).encode()]

    def prepare(self, model: Model, weights: Source, data: Data, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Raises UserError for a maximum length that the model does not have."""
        from transformers import DataCollatorWithPadding

        from experiments.metrics.glue import Glue
        from experiments.models.pretrained import read_tokenizer

        folder = weights.files["config.json"].parent
        tokenizer = read_tokenizer(folder)
        encoder = self._model(model, folder, train)
        longest = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        encode = functools.partial(self._encode, tokenizer=tokenizer, max_length=row_length(recipe, model, longest))
        encoded = {
            split: rows.map(encode, batched=True, remove_columns=rows.column_names, desc=f"tokenising {split}")
            for split, rows in self.cut(data.splits, train).items()
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
        import torch
        from transformers import AutoModelForSequenceClassification

        from experiments.models.pretrained import read_config, read_model

        labels = {"num_labels": max(1, len(self.classes)), "problem_type": None if self.classes else "regression"}
        config = read_config(folder, model.dropout, **labels)
        options = {"dtype": torch.float32, "attn_implementation": train.attention_kernel()}
        return read_model(AutoModelForSequenceClassification, folder, model.head, config=config, **options)

    def _encode(self, rows: dict[str, list], tokenizer, max_length: int) -> dict[str, list]:
        encoded = tokenizer(*(rows[column] for column in self.inputs), truncation=True, max_length=max_length)
        encoded["labels"] = rows["label"]
        return encoded

    def _loss(self, outputs: ModelOutput, labels: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import mse_loss

        return class_loss(outputs, labels) if self.classes else mse_loss(outputs.logits.squeeze(-1), labels)

    def _score(self, metric: Glue, outputs: EvalPrediction) -> dict[str, float]:
        predictions = np.argmax(outputs.predictions, axis=-1) if self.classes else outputs.predictions.squeeze(-1)
        scores = metric.compute(predictions=predictions, references=outputs.label_ids)
        return {**evaluated(self._loss, outputs), **scores}

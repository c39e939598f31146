"""GLUE: eight sets, one path. The facts of a set stand in configs/task/glue_<set>.yaml."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from experiments.data.assets import Assets, Model, Source, Split, find_dataset, read_split
from experiments.mini import glue
from experiments.settings import Recipe, Train
from experiments.tasks.base import Data, Prepared, Splits
from experiments.tasks.sentences import SentenceTask

if TYPE_CHECKING:
    from datasets import Dataset

HUB = "nyu-mll/glue"  # <set>/<split>-00000-of-00001.parquet (seen)
TOP_SCORE = 5.0  # of a regression: STS-B's
# MNLI's matched set is of the sources of its training sentences; the mismatched one takes the place of a test set.
FILES = {"mnli": {"validation": "validation_matched", "test": "validation_mismatched"}}


class GlueTask(SentenceTask):
    """One GLUE set: its input columns, its classes in the order of their labels (none for a regression), its metric."""

    family: Literal["glue"]
    name: str
    set: Literal["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb"]
    classes: tuple[str, ...]
    metric: str
    rows: dict[Split, PositiveInt]

    @property
    def local(self) -> str:
        """The set's folder under <assets.root>/datasets."""
        return f"glue/{self.set}"

    def locate(self, assets: Assets) -> Source | None:
        names = {split: FILES.get(self.set, {}).get(split, split) for split in self.rows}
        splits = {split: f"{self.set}/{name}-00000-of-00001.parquet" for split, name in names.items()}
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
        return self.prepare_as(model, weights, self.cut(data.splits, train), train, recipe, self.set, self.metric)

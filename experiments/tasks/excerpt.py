"""Instruction tuning on part of a set: the first rows that are short enough.

A benchmark that counts steps has as many rows as they take, in one epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from experiments.data.assets import Source, Split
from experiments.errors import UserError
from experiments.tasks.base import Data, Splits
from experiments.tasks.instruct import INPUT, INSTRUCTION, OUTPUT, InstructTask

if TYPE_CHECKING:
    from datasets import Dataset


class Excerpt(InstructTask):
    """As InstructTask, on part of the rows; of the generated rows of scale mini all are used.

    first: the number of rows of a split; a split that is not named has all its rows. characters: longer rows are left
    out of the splits in `first`, counting instruction, input and output with a space between them.
    """

    family: Literal["excerpt"]
    characters: PositiveInt
    first: dict[Split, PositiveInt]

    def chosen(self, data: Data) -> Splits:
        splits = super().chosen(data)
        if data.source.files:
            splits |= {split: self._short(data.source, split, splits[split]) for split in self.first}
        return splits

    def _short(self, source: Source, split: Split, rows: Dataset) -> Dataset:
        texts = zip(rows[INSTRUCTION], rows[INPUT], rows[OUTPUT], strict=True)
        short = [i for i, row in enumerate(texts) if len(" ".join(filter(None, row))) <= self.characters]
        wanted = self.first[split]
        if wanted > len(short):
            raise UserError(
                f"task.first.{split}={wanted}: {source.id} has {len(short)} rows of at most "
                f"task.characters={self.characters}; lower the one or raise the other"
            )
        return rows.select(short[:wanted])

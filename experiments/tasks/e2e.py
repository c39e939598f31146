"""E2E NLG: a restaurant's meaning in, a sentence about it out. The facts of the set stand in configs/task/e2e.yaml."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from experiments import processes
from experiments.data.assets import Assets, Model, Source, Split, find_dataset, read_split
from experiments.data.meanings import linear, spaced
from experiments.errors import UserError
from experiments.mini import places
from experiments.models.language import BeamSearch
from experiments.settings import Recipe, Train
from experiments.tasks.base import Data, Merged, Predict, Prepared, Splits, Task, Tested, write_table
from experiments.tasks.text import prepared, read_language_model, show_tables
from experiments.typed import Fraction

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn
    from transformers import PreTrainedTokenizerBase


HUB = "tuetschek/e2e_nlg"  # a loading script; the hub's conversion has default/<split>/0000.parquet (seen)
MEANING, REFERENCE = "meaning_representation", "human_reference"


class E2ETask(Task):
    """Training on every pair of meaning and reference; on test, one text per meaning, scored against all references."""

    family: Literal["e2e"]
    name: str
    local: str
    rows: dict[Split, PositiveInt]
    label_smoothing: Fraction
    decoding: BeamSearch

    def locate(self, assets: Assets) -> Source | None:
        return find_dataset(self.local, dict.fromkeys(self.rows, ""), HUB, assets)

    def read_split(self, source: Source, split: str) -> Dataset:
        """Raises UserError for an empty meaning or reference, with its file and row."""
        rows, file = read_split(source, split, (MEANING, REFERENCE)), source.where(split)
        for number, (meaning, reference) in enumerate(zip(rows[MEANING], rows[REFERENCE], strict=True)):
            try:
                linear(meaning)
            except UserError as error:
                raise UserError(f"{file}, row {number}: {error}") from error
            if not reference.strip():
                raise UserError(f"{file}, row {number}: the reference is empty; correct that row or remove it")
        return rows

    def miniature(self) -> Source:
        return Source("mini/places", "embedded", places.__name__, {})

    def generate(self) -> Splits:
        return {split: places.generate(split) for split in self.rows}

    def groups(self, rows: Dataset) -> list[str]:
        """The meanings."""
        return [linear(meaning) for meaning in rows[MEANING]]

    def prepare(self, model: Model, weights: Source, data: Data, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Raises UserError for a tokenizer without an end of text, or lengths that the model does not have."""
        from experiments.models import causal

        splits = self.cut(data.splits, train)
        tokenizer, network, max_length = read_language_model(model, weights, train, recipe)
        encoded = {
            split: causal.encoded(
                prompts(tokenizer, rows[MEANING]),
                answers(tokenizer, rows[REFERENCE]),
                max_length,
                f"{data.source.id}, {split}",
            )
            for split, rows in splits.items()
        }
        score = None
        if "test" in splits:
            grouped = group(splits["test"])
            asked = prompts(tokenizer, grouped)
            room = network.config.max_position_embeddings - max(map(len, asked))
            if self.decoding.max_new_tokens > room:
                raise UserError(
                    f"task.decoding.max_new_tokens={self.decoding.max_new_tokens}: behind the longest meaning "
                    f"{model.name} has room for {room} tokens; choose fewer"
                )
            score = functools.partial(self._score, tokenizer, grouped, asked, encoded["test"], train)
        return prepared(network, tokenizer, encoded, self.label_smoothing, score)

    def _score(
        self,
        tokenizer: PreTrainedTokenizerBase,
        grouped: dict[str, list[str]],
        asked: list[list[int]],
        rows: Dataset,
        train: Train,
        model: nn.Module,
        predict: Predict,
        folder: Path,
        merged: Merged,
    ) -> Tested:
        """Write a text for each meaning, save all in `folder`/outputs.jsonl, and score each against its references.

        Only the first process has all metrics.
        """
        from experiments.metrics.e2e import E2E
        from experiments.models.generation import generate

        with merged():
            texts = generate(model, tokenizer, asked, self.decoding, train.eval_batch_size, folder, train.autocast())
        columns = ["meaning", "output", "references", "tokens", "finished"]
        table = [
            [meaning, text.output, references, text.tokens, text.finished]
            for (meaning, references), text in zip(grouped.items(), texts, strict=True)
        ]
        unfinished = sum(not text.finished for text in texts)
        scores = {"unfinished": float(unfinished)}
        write_table(folder / "outputs.jsonl", columns, table)
        if processes.is_first():
            scores |= E2E().compute(
                predictions=[text.output for text in texts],
                references=[[spaced(reference) for reference in references] for references in grouped.values()],
            )
            if unfinished:
                limit = self.decoding.max_new_tokens
                print(f"{unfinished} of {len(texts)} outputs were cut off at task.decoding.max_new_tokens={limit}")
        metrics = {**predict(rows).metrics, **scores}
        return Tested(metrics, functools.partial(show_tables, {"outputs": (columns, table)}))


def prompts(tokenizer: PreTrainedTokenizerBase, meanings: Iterable[str]) -> list[list[int]]:
    """The model's input: a meaning in one line, then the end of text, as in the LoRA paper's code."""
    return _ended(tokenizer, map(linear, meanings))


def answers(tokenizer: PreTrainedTokenizerBase, references: Iterable[str]) -> list[list[int]]:
    """The target: a reference with spaces around its punctuation, then the end of text."""
    return _ended(tokenizer, (f" {spaced(reference)}" for reference in references))


def _ended(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[list[int]]:
    return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(list(texts))["input_ids"]]


def group(rows: Dataset) -> dict[str, list[str]]:
    """Each meaning with all its references, in the order of the rows.

    Meanings that differ only in spaces, and so not for the model, count as one, written as the first of them.
    """
    first: dict[str, str] = {}
    grouped: dict[str, list[str]] = {}
    for meaning, reference in zip(rows[MEANING], rows[REFERENCE], strict=True):
        grouped.setdefault(first.setdefault(linear(meaning), meaning), []).append(reference)
    return grouped

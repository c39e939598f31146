"""E2E NLG: a restaurant's meaning in, a sentence about it out. The facts of the set stand in configs/task/e2e.yaml."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset
from pydantic import PositiveInt
from torch import nn
from transformers import PreTrainedTokenizerBase

from experiments import processes
from experiments.data.assets import Assets, Model, Source, find_dataset, read_split
from experiments.data.meanings import linear, spaced
from experiments.errors import UserError
from experiments.metrics.e2e import E2E
from experiments.mini import places
from experiments.models import causal
from experiments.models.generation import BeamSearch, generate
from experiments.settings import Recipe, Train
from experiments.tasks.base import Merged, Predict, Prepared, Tested, first_rows, hold_out, identity, write_table
from experiments.tasks.text import longest_row, prepared
from experiments.tracking import Off
from experiments.typed import Fraction, Typed

HUB = "tuetschek/e2e_nlg"  # a script; converted: default/<split>/0000.parquet (seen)
MEANING, REFERENCE = "meaning_representation", "human_reference"


class E2ETask(Typed):
    """Training on every pair of meaning and reference; on test one text a meaning, judged by all its references."""

    family: Literal["e2e"]
    name: str
    local: str
    rows: dict[Literal["train", "validation", "test"], PositiveInt]
    label_smoothing: Fraction
    decoding: BeamSearch

    def find(self, assets: Assets, mini: bool) -> Source | None:
        """Where the data are; a generated set of the same kind at scale mini."""
        if mini:
            return Source("mini/places", "embedded", "experiments.mini.places", {})
        return find_dataset(self.local, dict.fromkeys(self.rows, ""), HUB, assets)

    def is_whole(self, source: Source) -> bool:
        """Whether the source holds as many rows as the set of the paper."""
        return all(len(self._read(source, split)) == rows for split, rows in self.rows.items())

    def identity(self, data: Source) -> dict[str, Any]:
        """What a record says of the data."""
        return identity(data, lambda: (json.dumps(list(self._read(data, split))).encode() for split in self.rows))

    def prepare(self, model: Model, weights: Source, data: Source, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Load model and data. With `train.holdout` the test set stays out of sight.

        Raises UserError for a file that cannot be read, a column that is missing, an empty meaning or reference, a
        tokenizer without an end of text, or lengths that the model does not have.
        """
        splits = first_rows({split: self._read(data, split) for split in self.rows}, train.rows)
        if train.holdout:
            splits = _hold_out_meanings(splits["train"], train.holdout)
        folder = weights.files["config.json"].parent
        tokenizer = causal.read_tokenizer(folder)
        network = causal.language_model(folder, train.attention_kernel(), model.dropout)
        longest, max_length = network.config.max_position_embeddings, longest_row(recipe, model, network)
        encoded = {
            split: causal.encoded(
                prompts(tokenizer, rows[MEANING]),
                answers(tokenizer, rows[REFERENCE]),
                max_length,
                f"{data.id}, {split}",
            )
            for split, rows in splits.items()
        }
        score = None
        if "test" in splits:
            grouped = group(splits["test"])
            asked = prompts(tokenizer, grouped)
            room = longest - max(map(len, asked))
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
        """Write a text for each meaning, leave all in `folder`/outputs.jsonl, and compare each with its references.

        Of several processes the first alone has all metrics.
        """
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
        return Tested(metrics, functools.partial(_show, columns, table))

    def _read(self, data: Source, split: str) -> Dataset:
        """Rows of a split. Raises UserError for an empty meaning or reference, with its file and row."""
        if data.source == "embedded":
            return places.generate(split)
        rows, file = read_split(data, split, (MEANING, REFERENCE)), data.where(split)
        for number, (meaning, reference) in enumerate(zip(rows[MEANING], rows[REFERENCE], strict=True)):
            try:
                linear(meaning)
            except UserError as error:
                raise UserError(f"{file}, row {number}: {error}") from error
            if not reference.strip():
                raise UserError(f"{file}, row {number}: the reference is empty; correct that row or remove it")
        return rows


def prompts(tokenizer: PreTrainedTokenizerBase, meanings: Iterable[str]) -> list[list[int]]:
    """What is read: a meaning in one line, then the end of text, as in the LoRA paper's code."""
    return _ended(tokenizer, map(linear, meanings))


def answers(tokenizer: PreTrainedTokenizerBase, references: Iterable[str]) -> list[list[int]]:
    """What is learnt: a reference with spaces around its punctuation, then the end of text."""
    return _ended(tokenizer, (f" {spaced(reference)}" for reference in references))


def _ended(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[list[int]]:
    return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(list(texts))["input_ids"]]


def group(rows: Dataset) -> dict[str, list[str]]:
    """Each meaning with all its references, in the order of the rows.

    Meanings that the model reads alike, however they are spaced, are one: the one that comes first.
    """
    first: dict[str, str] = {}
    grouped: dict[str, list[str]] = {}
    for meaning, reference in zip(rows[MEANING], rows[REFERENCE], strict=True):
        grouped.setdefault(first.setdefault(linear(meaning), meaning), []).append(reference)
    return grouped


def _hold_out_meanings(rows: Dataset, share: float) -> dict[str, Dataset]:
    """train and validation without a common meaning: a reference of a meaning that was trained on tells nothing new."""
    meanings = hold_out(Dataset.from_dict({MEANING: list(group(rows))}), share)
    kept = {split: set(map(linear, some[MEANING])) for split, some in meanings.items()}
    return {
        split: rows.select([i for i, meaning in enumerate(rows[MEANING]) if linear(meaning) in some])
        for split, some in kept.items()
    }


def _show(columns: list[str], table: list[list[Any]], folder: Path, tracker: Off) -> None:
    tracker.table("outputs", columns, [["\n".join(c) if isinstance(c, list) else c for c in line] for line in table])

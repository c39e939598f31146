"""Instruction tuning: an instruction in, an answer out; then the questions of benches, answered for a judge to grade.

The facts of a set stand in configs/task/. Judging is scripts/judge.py: it costs money, and needs no model.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt, PositiveInt

from experiments import processes
from experiments.data.assets import SPLITS, Assets, Model, Source, Split, find_dataset, read_split
from experiments.data.instructions import Wording
from experiments.errors import UserError
from experiments.judging.answering import as_table, converse
from experiments.judging.answers import Answer
from experiments.judging.questions import BenchName, Question, bench_files
from experiments.lines import read_lines, write_lines
from experiments.metrics.answers import CHECKS
from experiments.mini import instructions
from experiments.models.language import Base, Learnt, Overlong, Sampling, Text
from experiments.settings import Recipe, Train
from experiments.tasks.base import Data, Merged, Predict, Prepared, Splits, Task, Tested, write_table
from experiments.tasks.text import prepared, read_language_model, show_tables
from experiments.typed import Typed

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn
    from transformers import PreTrainedTokenizerBase


INSTRUCTION, INPUT, OUTPUT = COLUMNS = ("instruction", "input", "output")


class Files(Typed):
    """Where the rows of one split are: a folder below datasets/, or a file on the hub ("": found by the split's name).

    columns: the file's names for instruction, input (where there is such a column) and output. count: the number of
    rows in the whole file.
    """

    local: str
    hub: str
    file: str
    columns: dict[Literal["instruction", "input", "output"], str]
    count: PositiveInt


class Decoding(Typed):
    """How answers are written: tokens from the `top_k` likeliest, at each question's own temperature."""

    top_k: PositiveInt
    max_new_tokens: PositiveInt


@dataclass(frozen=True)
class Writer:
    """Writes answers with a model that reads at most `longest` tokens, prompt and answer together."""

    tokenizer: PreTrainedTokenizerBase
    decoding: Decoding
    longest: int
    train: Train
    seed: int

    def write(
        self,
        model: nn.Module,
        folder: Path,
        counts: dict[str, float],
        name: str,
        prompts: Sequence[str],
        temperatures: list[float],
    ) -> list[Text]:
        """One text after each prompt. A prompt that is too long keeps its first token and its last ones.

        Prints, and adds to `counts`, how many prompts were cut and how many answers are unfinished.
        """
        from experiments.models.generation import generate

        limit = self.decoding.max_new_tokens
        room = self.longest - limit
        ids = self.tokenizer(list(prompts))["input_ids"]
        texts = generate(
            model,
            self.tokenizer,
            [each if len(each) <= room else [each[0], *each[len(each) - room + 1 :]] for each in ids],
            Sampling(temperatures=temperatures, seed=f"{self.seed} {name}", **self.decoding.model_dump()),
            self.train.eval_batch_size,
            folder,
            self.train.autocast(),
            name,
        )
        for what, count, why in (
            ("cut", sum(len(each) > room for each in ids), f"prompts of more than {room} tokens"),
            ("unfinished", sum(not text.finished for text in texts), f"answers at max_new_tokens={limit}"),
        ):
            key = f"{what}_{name.partition('.')[0]}"
            counts[key] = counts.get(key, 0.0) + count
            if count:
                processes.say(f"{name}: {count} of {len(texts)} {what}: {why}")
        return texts


class Instructions(Task):
    """Training on answers to instructions; validation and test by the probability of held-out answers.

    split_seed: of the rows that are held out. learn: the answer alone, or its prompt too. overlong: whether rows of
    more than recipe.max_length tokens are cut or dropped. base: the precision of the model's own weights. check: how
    answers are compared with the right one; None where there is no single right answer. benches: sets of questions to
    answer after training.
    """

    name: str
    split_seed: NonNegativeInt
    wording: Wording
    learn: Learnt
    overlong: Overlong
    base: Base
    check: Literal["exact", "number"] | None
    benches: tuple[BenchName, ...]
    decoding: Decoding

    def with_questions(self, files: dict[str, Path], assets: Assets) -> dict[str, Path]:
        """The files, and those of the questions. Raises UserError where these are missing."""
        return files | {bench: bench_files(assets.root, bench)["questions"] for bench in self.benches}

    def chosen(self, data: Data) -> Splits:
        """The rows of each split, of those that there are."""
        return data.splits

    def prepare(self, model: Model, weights: Source, data: Data, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """With `train.holdout` no questions are answered.

        Raises UserError for a tokenizer without an end of text, or lengths that the model does not have.
        """
        from experiments.models import causal

        files = data.source.files
        questions = {bench: read_lines(files[bench], Question) for bench in self.benches if bench in files}
        splits = self.cut(self.chosen(data), train)
        tokenizer, network, max_length = read_language_model(model, weights, train, recipe, self.base)
        longest = network.config.max_position_embeddings
        if (limit := self.decoding.max_new_tokens) >= longest and (self.check or questions):
            raise UserError(f"task.decoding.max_new_tokens={limit}: {model.name} has {longest} for prompt and answer")
        encoded = {}
        for split, rows in splits.items():
            encoded[split], counts = causal.completed(
                tokenizer, self.prompts(rows, tokenizer), rows[OUTPUT], max_length, self.overlong, self.learn
            )
            if any(counts.values()):
                told = ", ".join(f"{count} {what}" for what, count in counts.items())
                processes.say(
                    f"{data.source.id}, {split}: {len(rows)} rows, of which {told} at recipe.max_length={max_length}"
                )
            if not len(encoded[split]):
                raise UserError(f"{data.source.id}, {split}: no row is left; raise recipe.max_length={max_length}")
        score = None
        if "test" in splits:
            writer = Writer(tokenizer, self.decoding, longest, train, seed)
            score = functools.partial(self._score, splits["test"], encoded["test"], questions, writer)
        return prepared(network, tokenizer, encoded, 0.0, score)

    def _score(
        self,
        rows: Dataset,
        encoded: Dataset,
        questions: dict[BenchName, list[Question]],
        writer: Writer,
        model: nn.Module,
        predict: Predict,
        folder: Path,
        merged: Merged,
    ) -> Tested:
        """The probability of the test answers; where they can be checked, the share of right ones; answers to benches.

        Saves outputs.jsonl (the checked answers) and model_answer/<bench>.jsonl (FastChat's format) in `folder`.
        """
        metrics, tables = predict(encoded).metrics, {}
        write = functools.partial(writer.write, model, folder, metrics)
        with merged():
            if self.check:
                prompts, expected = self.prompts(rows, writer.tokenizer), rows[OUTPUT][:]
                outputs = [text.output for text in write("test", prompts, [0.0] * len(prompts))]
                right = list(map(CHECKS[self.check], outputs, expected))
                metrics["accuracy"] = sum(right) / len(right)
                columns = ["prompt", "output", "expected", "right"]
                tables["outputs"] = columns, list(map(list, zip(prompts, outputs, expected, right, strict=True)))
                write_table(folder / "outputs.jsonl", *tables["outputs"])
            for bench, asked in questions.items():
                said = converse(asked, bench, self.wording, writer.tokenizer.eos_token, write)
                tables[bench] = as_table(asked, said)
                if processes.is_first():
                    name = "-".join(folder.parts[-4:-1])  # model, method and run
                    answers = [
                        Answer.of(question.question_id, [text.output for text in texts], name)
                        for question, texts in zip(asked, said, strict=True)
                    ]
                    write_lines(folder / "model_answer" / f"{bench}.jsonl", answers)
        return Tested(metrics, functools.partial(show_tables, tables))

    def prompts(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """The text before the answer of each row."""
        return [self.wording.ask(*row) for row in zip(rows[INSTRUCTION], rows[INPUT], strict=True)]


class InstructTask(Instructions):
    """A named set: the files of its splits.

    held_out: the number of training rows kept for a split without a file of its own, drawn with `split_seed`.
    """

    family: Literal["instruct"]
    data: dict[Split, Files]
    held_out: dict[Literal["validation", "test"], PositiveInt]

    @property
    def local(self) -> str:
        """The folders of the data, as a message names them."""
        return " and datasets/".join(dict.fromkeys(rows.local for rows in self.data.values()))

    @property
    def counts(self) -> dict[str, int]:
        return {split: rows.count for split, rows in self.data.items()}

    def locate(self, assets: Assets) -> Source | None:
        """The files of the splits and of the questions. Raises UserError where only the questions are missing."""
        found = {}
        for split, rows in self.data.items():
            found[split] = find_dataset(rows.local, {split: rows.file}, rows.hub, assets)
            if found[split] is None:
                return None
        files = {name: path for source in found.values() for name, path in source.files.items()}
        files = self.with_questions(files, assets)
        first = found["train"]
        return Source(self.name, first.source, ", ".join(source.id for source in found.values()), files, first.revision)

    def read_split(self, source: Source, split: Split) -> Dataset:
        """The columns have the same names for every set. Raises UserError for an empty instruction."""
        from datasets import Dataset

        columns, file = self.data[split].columns, source.where(split)
        rows = read_split(source, split, columns.values(), optional=[columns.get(INPUT, "")])
        texts = {name: rows[column] for name, column in columns.items()}
        rows = Dataset.from_dict({n: [text or "" for text in texts.get(n, [""] * len(rows))] for n in COLUMNS})
        for number, instruction in enumerate(rows[INSTRUCTION]):
            if not instruction.strip():
                raise UserError(f"{file}, row {number}: the instruction is empty; correct that row or remove it")
        return rows

    def miniature(self) -> Source:
        return Source("mini/instructions", "embedded", instructions.__name__, {})

    def generate(self) -> Splits:
        return {split: instructions.generate(split) for split in SPLITS}

    def chosen(self, data: Data) -> Splits:
        """The rows of each split, after those without a file of their own are held out of train."""
        splits = dict(data.splits)
        for split, count in self.held_out.items():
            if split not in splits:
                if count >= len(splits["train"]):
                    have = len(splits["train"])
                    raise UserError(f"task.held_out.{split}={count}: {data.source.id} has {have} rows in all")
                halves = splits["train"].train_test_split(test_size=count, seed=self.split_seed)
                splits |= {"train": halves["train"], split: halves["test"]}
        return splits

"""Instruction tuning: an instruction in, an answer out; then the questions of benches, answered for a judge to grade.

The facts of a set stand in configs/task/. Judging is scripts/judge.py: it costs money, and needs no model.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset
from pydantic import NonNegativeInt, PositiveInt
from torch import nn
from transformers import PreTrainedTokenizerBase

from experiments import processes
from experiments.data.assets import Assets, Model, Source, find_dataset, read_split
from experiments.data.instructions import Wording
from experiments.errors import UserError
from experiments.judging.answering import as_table, converse
from experiments.judging.answers import Answer, write_answers
from experiments.judging.questions import BenchName, Question, bench_files, read_questions
from experiments.metrics.answers import CHECKS
from experiments.mini import instructions
from experiments.models import causal
from experiments.models.generation import Sampling, Text, generate
from experiments.settings import Recipe, Train
from experiments.tasks.base import Merged, Predict, Prepared, Tested, first_rows, hold_out, identity, write_table
from experiments.tasks.text import longest_row, prepared
from experiments.tracking import Off
from experiments.typed import Typed

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
INSTRUCTION, INPUT, OUTPUT = COLUMNS = ("instruction", "input", "output")


class Rows(Typed):
    """The rows of one split: a folder below datasets/, or a file on the hub ("": by its name), and their columns.

    columns: those of the file that hold the instruction, its input (where there is such a column) and the output.
    count: how many there are in all.
    """

    local: str
    hub: str
    file: str
    columns: dict[Literal["instruction", "input", "output"], str]
    count: PositiveInt


class Decoding(Typed):
    """How answers are written: tokens among the `top_k` likeliest, at the temperature that a question has."""

    top_k: PositiveInt
    max_new_tokens: PositiveInt


@dataclass(frozen=True)
class Writer:
    """Writes answers, in the room that a model has for prompt and answer: `longest` tokens."""

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
        """A text behind each prompt; of a prompt that is too long, the first token and the last.

        How many prompts were cut, and how many answers are unfinished, is told, and added to `counts`.
        """
        limit = self.decoding.max_new_tokens
        room = self.longest - limit
        ids = self.tokenizer(list(prompts))["input_ids"]
        texts = generate(
            model,
            self.tokenizer,
            [each if len(each) <= room else [each[0], *each[len(each) - room + 1 :]] for each in ids],
            Sampling(temperatures, self.decoding.top_k, limit, f"{self.seed} {name}"),
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


class InstructTask(Typed):
    """Training on answers to instructions; validation and test by the probability of held-out answers.

    held_out: rows of train that are kept for a split without a file of its own, drawn with `split_seed`. learn: the
    answer alone, or its prompt too. overlong: what becomes of rows of more than recipe.max_length tokens. base: how the
    model's own weights are kept. check: how an answer is told right; None where there is no one right answer. benches:
    sets of questions to answer once trained.
    """

    family: Literal["instruct"]
    name: str
    data: dict[Split, Rows]
    held_out: dict[Literal["validation", "test"], PositiveInt]
    split_seed: NonNegativeInt
    wording: Wording
    learn: causal.Learnt
    overlong: causal.Overlong
    base: causal.Base
    check: Literal["exact", "number"] | None
    benches: tuple[BenchName, ...]
    decoding: Decoding

    @property
    def local(self) -> str:
        """Where the data belong, for a person to read."""
        return " and datasets/".join(dict.fromkeys(rows.local for rows in self.data.values()))

    def find(self, assets: Assets, mini: bool) -> Source | None:
        """Where data and questions are; generated instructions, and no questions, at scale mini.

        Raises UserError where data are there and a bench is not.
        """
        if mini:
            return Source("mini/instructions", "embedded", "experiments.mini.instructions", {})
        found = {}
        for split, rows in self.data.items():
            found[split] = find_dataset(rows.local, {split: rows.file}, rows.hub, assets)
            if found[split] is None:
                return None
        files = {name: path for source in found.values() for name, path in source.files.items()}
        for bench in self.benches:
            files[bench] = bench_files(assets.root, bench)["questions"]
        first = found["train"]
        return Source(self.name, first.source, ", ".join(source.id for source in found.values()), files, first.revision)

    def is_whole(self, source: Source) -> bool:
        """Whether the source holds as many rows as the sets of the paper."""
        return all(len(self._table(source, split)) == rows.count for split, rows in self.data.items())

    def identity(self, data: Source) -> dict[str, Any]:
        """What a record says of the data."""
        return identity(data, lambda: (json.dumps(list(self._read(data, split))).encode() for split in SPLITS))

    def prepare(self, model: Model, weights: Source, data: Source, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Load model and data. With `train.holdout` the test rows stay out of sight, and no question is answered.

        Raises UserError for a file that cannot be read, a column that is missing, an empty instruction, a tokenizer
        without an end of text, or lengths that the model does not have.
        """
        questions = {bench: read_questions(data.files[bench]) for bench in self.benches if bench in data.files}
        splits = first_rows(self._splits(data), train.rows)
        if train.holdout:
            splits = hold_out(splits["train"], train.holdout)
        folder = weights.files["config.json"].parent
        tokenizer = causal.read_tokenizer(folder)
        network = causal.language_model(
            folder, train.attention_kernel(), model.dropout, self.base, train.torch_device()
        )
        longest, max_length = network.config.max_position_embeddings, longest_row(recipe, model, network)
        if (limit := self.decoding.max_new_tokens) >= longest:
            raise UserError(f"task.decoding.max_new_tokens={limit}: {model.name} has {longest} for prompt and answer")
        encoded = {}
        for split, rows in splits.items():
            encoded[split], counts = causal.completed(
                tokenizer, self._prompts(rows), rows[OUTPUT], max_length, self.overlong, self.learn
            )
            if any(counts.values()):
                told = ", ".join(f"{count} {what}" for what, count in counts.items())
                processes.say(
                    f"{data.id}, {split}: {len(rows)} rows, of which {told} at recipe.max_length={max_length}"
                )
            if not len(encoded[split]):
                raise UserError(f"{data.id}, {split}: no row is left; raise recipe.max_length={max_length}")
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
        """The test rows' probability; where answers can be checked, the share that is right; answers to the benches.

        Leaves outputs.jsonl (what was checked) and model_answer/<bench>.jsonl (FastChat's form) in `folder`.
        """
        metrics, tables = predict(encoded).metrics, {}
        write = functools.partial(writer.write, model, folder, metrics)
        with merged():
            if self.check:
                prompts, expected = self._prompts(rows), rows[OUTPUT][:]
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
                        Answer(question.question_id, [text.output for text in texts], name)
                        for question, texts in zip(asked, said, strict=True)
                    ]
                    write_answers(folder / "model_answer" / f"{bench}.jsonl", answers)
        return Tested(metrics, functools.partial(_show, tables))

    def _prompts(self, rows: Dataset) -> list[str]:
        return [self.wording.ask(*row) for row in zip(rows[INSTRUCTION], rows[INPUT], strict=True)]

    def _splits(self, data: Source) -> dict[Split, Dataset]:
        """Rows of every split."""
        if data.source == "embedded":
            return {split: self._read(data, split) for split in SPLITS}
        splits = {split: self._read(data, split) for split in self.data}
        for split, count in self.held_out.items():
            if count >= len(splits["train"]):
                raise UserError(f"task.held_out.{split}={count}: {data.id} has {len(splits['train'])} rows in all")
            halves = splits["train"].train_test_split(test_size=count, seed=self.split_seed)
            splits |= {"train": halves["train"], split: halves["test"]}
        return splits

    def _table(self, data: Source, split: Split) -> Dataset:
        """Rows in the columns of the file."""
        columns = self.data[split].columns
        return read_split(data, split, columns.values(), optional=[columns.get(INPUT, "")])

    def _read(self, data: Source, split: Split) -> Dataset:
        """Rows in columns of the same names whatever the set. Raises UserError for an empty instruction."""
        if data.source == "embedded":
            return instructions.generate(split)
        rows, columns, file = self._table(data, split), self.data[split].columns, data.where(split)
        texts = {name: rows[column] for name, column in columns.items()}
        rows = Dataset.from_dict({n: [text or "" for text in texts.get(n, [""] * len(rows))] for n in COLUMNS})
        for number, instruction in enumerate(rows[INSTRUCTION]):
            if not instruction.strip():
                raise UserError(f"{file}, row {number}: the instruction is empty; correct that row or remove it")
        return rows


def _show(tables: dict[str, tuple[list[str], list[list[Any]]]], folder: Path, tracker: Off) -> None:
    for name, (columns, rows) in tables.items():
        tracker.table(name, columns, rows)

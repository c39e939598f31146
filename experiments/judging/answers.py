"""Answers to the questions of a bench in FastChat's files, model_answer/<model>.jsonl, one line per question."""

import hashlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from experiments.lines import Line, read_lines
from experiments.record import replace_lines

DIGEST = re.compile("[0-9a-f]{22}")  # an answer_id that write_answers made


@dataclass(frozen=True)
class Answer:
    """The answers of a model to the turns of a question."""

    question_id: int
    turns: list[str]
    model_id: str


class _Choice(Line):
    index: int
    turns: list[str] = Field(min_length=1)


class _Line(Line):
    question_id: int
    answer_id: str
    model_id: str
    choices: list[_Choice] = Field(min_length=1)
    tstamp: float

    @property
    def answer(self) -> Answer:
        return Answer(self.question_id, self.choices[0].turns, self.model_id)

    @model_validator(mode="after")
    def _is_as_written(self) -> "_Line":
        if DIGEST.fullmatch(self.answer_id) and self.answer_id != _digest(self.answer):
            raise ValueError(f"answer_id {self.answer_id} is of another answer; restore it, or give it another id")
        return self


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write FastChat's file atomically; equal answers get equal ids. Raises RecordError."""
    now = time.time()
    lines = [
        {
            "question_id": answer.question_id,
            "answer_id": _digest(answer),
            "model_id": answer.model_id,
            "choices": [{"index": 0, "turns": answer.turns}],
            "tstamp": now,
        }
        for answer in answers
    ]
    replace_lines(path, lines)


def read_answers(path: Path) -> list[Answer]:
    """The answers in a file, in order; of several choices the first, as FastChat does.

    Raises UserError: the file, the line, the wrong field and its value; or an answer changed after `write_answers`.
    """
    return [line.answer for line in read_lines(path, _Line, "question_id")]


def _digest(answer: Answer) -> str:
    """22 hex digits of an answer's SHA-256; FastChat's ids are as long, but random."""
    said = json.dumps([answer.question_id, answer.model_id, answer.turns])
    return hashlib.sha256(said.encode()).hexdigest()[:22]

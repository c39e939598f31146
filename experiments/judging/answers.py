"""Answers to the questions of a bench, lines of FastChat's files model_answer/<model>.jsonl."""

import hashlib
import json
import re
import time

from pydantic import Field, model_validator

from experiments.lines import Line

DIGEST = re.compile("[0-9a-f]{22}")  # an answer_id that `Answer.of` made


class Choice(Line):
    """One way in which a model answered the turns of a question."""

    index: int
    turns: list[str] = Field(min_length=1)


class Answer(Line):
    """The answers of a model to the turns of a question. One that was changed after `of` made it is refused."""

    KEY = ("question_id",)

    question_id: int
    answer_id: str
    model_id: str
    choices: list[Choice] = Field(min_length=1)
    tstamp: float

    @classmethod
    def of(cls, question_id: int, turns: list[str], model_id: str) -> "Answer":
        """A new answer; equal ones get equal ids."""
        return cls(
            question_id=question_id,
            answer_id=_digest(question_id, model_id, turns),
            model_id=model_id,
            choices=[Choice(index=0, turns=turns)],
            tstamp=time.time(),
        )

    @property
    def turns(self) -> list[str]:
        """Those of the first choice, as in FastChat."""
        return self.choices[0].turns

    @model_validator(mode="after")
    def _is_as_written(self) -> "Answer":
        expected = _digest(self.question_id, self.model_id, self.turns)
        if DIGEST.fullmatch(self.answer_id) and self.answer_id != expected:
            raise ValueError(f"answer_id {self.answer_id} is of another answer; restore it, or give it another id")
        return self


def _digest(question_id: int, model_id: str, turns: list[str]) -> str:
    """22 hex digits of an answer's SHA-256; FastChat's ids are as long, but random."""
    return hashlib.sha256(json.dumps([question_id, model_id, turns]).encode()).hexdigest()[:22]

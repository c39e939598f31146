"""Conversations over the questions of a bench: first the first turn of all questions, then the second."""

from collections.abc import Callable, Sequence
from typing import Any

from experiments.data.instructions import Wording
from experiments.judging.questions import Question
from experiments.models.language import Text

Write = Callable[[str, list[str], list[float]], list[Text]]


def converse(questions: Sequence[Question], bench: str, wording: Wording, end: str, write: Write) -> list[list[Text]]:
    """The answers to each question, one per turn. end: the text that ends an answer.

    write: from a name of the bench and the turn, prompts, and the temperature of each, to texts.
    """
    prompts = [wording.ask(question.turns[0]) for question in questions]
    said: list[list[Text]] = [[] for _ in questions]
    for turn in range(max(len(question.turns) for question in questions)):
        asked = [row for row, question in enumerate(questions) if len(question.turns) > turn]
        for row in asked if turn else ():
            prompts[row] += said[row][-1].output + end + wording.go_on(questions[row].turns[turn])
        temperatures = [questions[row].temperature for row in asked]
        texts = write(f"{bench}.turn{turn + 1}", [prompts[row] for row in asked], temperatures)
        for row, text in zip(asked, texts, strict=True):
            said[row].append(text)
    return said


def as_table(questions: Sequence[Question], said: list[list[Text]]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of a table for reading, one row per turn."""
    return ["question", "category", "turn", "asked", "answer", "tokens", "finished"], [
        [question.question_id, question.category, turn, asked, text.output, text.tokens, text.finished]
        for question, texts in zip(questions, said, strict=True)
        for turn, (asked, text) in enumerate(zip(question.turns, texts, strict=True), 1)
    ]

"""What users of the official code asked, results/paper/open_questions.yaml, and the table of the answers."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from experiments.paper.printed import read_list
from experiments.report.render import Table
from experiments.typed import Typed


class Question(Typed):
    """One question. source: where it was asked. links: files of this project that show the answer, from its root."""

    source: Annotated[str, Field(pattern=r"^https://github\.com/")]
    question: str
    state: Literal["answered", "partly", "open"]
    answer: str
    links: Annotated[list[str], Field(min_length=1)]

    @property
    def asked(self) -> str:
        """The source in short: "official #6", "PEFT #1838", "PEFT MetaMathQA"."""
        whose = "PEFT" if "/huggingface/peft/" in self.source else "official"
        last = self.source.rsplit("/", 1)[-1]
        return f"{whose} {'#' * last.isdigit()}{last}"


def read_questions(folder: Path) -> list[Question]:
    """The questions in the order of the file. Raises UserError."""
    return read_list(folder / "open_questions.yaml", "questions", Question)


def table(questions: Sequence[Question], root: str = "..") -> Table:
    """A row a question. `root`: the project's root as seen from the page."""
    lines = [
        [
            f"[{one.asked}]({one.source})",
            one.question,
            one.state,
            f"{one.answer} {', '.join(f'[{PurePosixPath(link).name}]({root}/{link})' for link in one.links)}",
        ]
        for one in questions
    ]
    return Table("", ["Asked", "Question", "State", "Answer"], lines)

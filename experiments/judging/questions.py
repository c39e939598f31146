"""FastChat's files of the questions of MT-Bench and Vicuna, the reference answers and the judge's prompts.

In <assets.root>/datasets/llm_judge/, laid out as fastchat/llm_judge/data/ in FastChat's repository.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, NonNegativeFloat

from experiments.errors import UserError
from experiments.judging.answers import read_answers
from experiments.lines import Line, read_lines

BenchName = Literal["mt_bench", "vicuna_bench"]
BENCHES: tuple[BenchName, ...] = get_args(BenchName)
PROMPTS = "judge_prompts.jsonl"

# Source: FastChat, llm_judge/common.py, temperature_config. All other categories have OTHER_TEMPERATURE.
TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
TEMPERATURES |= dict.fromkeys(("extraction", "math", "coding", "reasoning"), 0.0)
OTHER_TEMPERATURE = 0.7


class Question(Line):
    """A question of one or more turns. `reference` is for readers; the judge is shown those in `QuestionSet`."""

    question_id: int
    category: str
    turns: list[str] = Field(min_length=1)
    reference: list[str] | None = None
    required_temperature: NonNegativeFloat | None = None

    @property
    def temperature(self) -> float:
        """The sampling temperature of answers: the question's own, else its category's. 0 is greedy."""
        if self.required_temperature is not None:
            return self.required_temperature
        return TEMPERATURES.get(self.category, OTHER_TEMPERATURE)


class Prompt(Line):
    """One of the judge's prompts."""

    name: str
    type: Literal["single", "pairwise"]
    system_prompt: str
    prompt_template: str
    description: str
    category: str
    output_format: str


@dataclass(frozen=True)
class QuestionSet:
    """Questions in order, and all that grading needs.

    references: the reference answers to the turns, by question_id, for some categories.
    files: the paths of "questions", "references" and "prompts".
    """

    name: BenchName
    questions: list[Question]
    references: dict[int, list[str]]
    files: dict[str, Path]


def read_questions(path: Path) -> list[Question]:
    """Raises UserError: the file, the line, the wrong field and its value."""
    return read_lines(path, Question, "question_id")


def read_prompts(path: Path) -> dict[str, Prompt]:
    """The judge's prompts by name. Raises UserError: the file, the line, the wrong field and its value."""
    return {prompt.name: prompt for prompt in read_lines(path, Prompt, "name")}


def find_bench(root: Path | None, bench: BenchName) -> QuestionSet:
    """The bench in `root`, the folder of assets. Raises UserError: an unknown bench, a missing file, a wrong line."""
    files = bench_files(root, bench)
    references = {answer.question_id: answer.turns for answer in read_answers(files["references"])}
    return QuestionSet(bench, read_questions(files["questions"]), references, files)


def bench_files(root: Path | None, bench: BenchName) -> dict[str, Path]:
    """The paths of a bench's files. Raises UserError: an unknown bench, a missing file and how to supply it."""
    if bench not in BENCHES:
        raise UserError(f"there is no bench {bench!r}; choose one of {', '.join(BENCHES)}")
    supply = "copy fastchat/llm_judge/data of github.com/lm-sys/FastChat to <assets.root>/datasets/llm_judge"
    if root is None:
        raise UserError(f"{bench}: no folder of assets; {supply}, and name it by FOURIERFT_ASSETS or assets.root")
    folder = Path(root) / "datasets" / "llm_judge"
    files = {
        "questions": folder / bench / "question.jsonl",
        "references": folder / bench / "reference_answer" / "gpt-4.jsonl",
        "prompts": folder / PROMPTS,
    }
    if missing := [str(path) for path in files.values() if not path.is_file()]:
        raise UserError(f"{bench}: missing {', '.join(missing)}; {supply}")
    return files


def digest(root: Path | None) -> str:
    """SHA-256 over the files of all benches in `root`, on which grades depend. Raises UserError: a missing file."""
    files = {path: None for bench in BENCHES for path in bench_files(root, bench).values()}
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()

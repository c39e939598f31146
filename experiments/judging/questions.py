"""The questions of MT-Bench and Vicuna's bench, their reference answers and the judge's prompts: FastChat's files.

They lie under <assets.root>/datasets/llm_judge/ as in FastChat's repository under fastchat/llm_judge/data/.
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

# FastChat's (llm_judge/common.py, temperature_config); every other category has OTHER_TEMPERATURE.
TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
TEMPERATURES |= dict.fromkeys(("extraction", "math", "coding", "reasoning"), 0.0)
OTHER_TEMPERATURE = 0.7


class Question(Line):
    """One question of one or more turns. `reference` is for readers; the judge is shown those of `Bench`."""

    question_id: int
    category: str
    turns: list[str] = Field(min_length=1)
    reference: list[str] | None = None
    required_temperature: NonNegativeFloat | None = None

    @property
    def temperature(self) -> float:
        """At which a model answers: the question's own, else its category's. 0 means greedy."""
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
class Bench:
    """Questions in their order, and what it takes to grade answers to them.

    references: the reference answer to each turn, by question_id; only some categories have any.
    files: "questions", "references" and "prompts", as found.
    """

    name: BenchName
    questions: list[Question]
    references: dict[int, list[str]]
    files: dict[str, Path]


def read_questions(path: Path) -> list[Question]:
    """Raises UserError: file, line, field and value."""
    return read_lines(path, Question, "question_id")


def read_prompts(path: Path) -> dict[str, Prompt]:
    """The judge's prompts by name. Raises UserError: file, line, field and value."""
    return {prompt.name: prompt for prompt in read_lines(path, Prompt, "name")}


def find_bench(root: Path | None, bench: BenchName) -> Bench:
    """A bench below `root`, the folder of assets (assets.root).

    Raises UserError: no such bench, what is missing and how to supply it, or a line that is wrong.
    """
    files = bench_files(root, bench)
    references = {answer.question_id: answer.turns for answer in read_answers(files["references"])}
    return Bench(bench, read_questions(files["questions"]), references, files)


def bench_files(root: Path | None, bench: BenchName) -> dict[str, Path]:
    """Where the files of a bench are. Raises UserError where one is missing."""
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
    """SHA-256 over the files of all benches below `root`: what a grade depends on beside judge and answer.

    Raises UserError where one is missing.
    """
    files = {path: None for bench in BENCHES for path in bench_files(root, bench).values()}
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()

"""Two sets of answers side by side, question by question, on one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from statistics import fmean

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.errors import UserError
from experiments.judging.answers import read_answers
from experiments.judging.grading import FAILURE, METRICS, Judgment, failures, means, read_judgments
from experiments.judging.questions import Question, QuestionSet

TEMPLATE = Path(__file__).with_name("compare.html")


@dataclass(frozen=True)
class Side:
    """Answers by bench and question, and their judgments, if any, by bench, question and turn.

    judge: the label of the judge, None without judgments; facts: further lines about the answers.
    """

    title: str
    judge: str | None
    answers: dict[str, dict[int, list[str]]]
    judgments: dict[tuple[str, int, int], Judgment]
    facts: Sequence[str] = ()


@dataclass(frozen=True)
class ComparedTurn:
    """One turn of a question, the answers of both sides, and their judgments."""

    question: str
    reference: str | None
    answers: tuple[str, str]
    judgments: tuple[Judgment | None, Judgment | None]

    @property
    def scores(self) -> tuple[float, float] | None:
        """Both scores; None unless both sides have one."""
        found = [one.score for one in self.judgments if one and one.score != FAILURE]
        return (found[0], found[1]) if len(found) == 2 else None


@dataclass(frozen=True)
class Comparison:
    """The answers of both sides to one question."""

    bench: str
    question: Question
    turns: list[ComparedTurn]

    @property
    def difference(self) -> float | None:
        """The mean of A's score minus B's, over the turns in which both have one."""
        both = [turn.scores for turn in self.turns if turn.scores]
        return fmean(a - b for a, b in both) if both else None

    @property
    def outcome(self) -> str:
        """The better side, a or b; tie; or none without scores."""
        if self.difference is None:
            return "none"
        return "tie" if self.difference == 0 else "a" if self.difference > 0 else "b"


@dataclass(frozen=True)
class SummaryRow:
    """Mean scores of both sides, and the turns that A won, tied and lost."""

    bench: str
    name: str
    scores: tuple[float | None, float | None]
    wins: int
    ties: int
    losses: int


def side(title: str, files: dict[str, Path], judge: str | None, facts: Sequence[str] = ()) -> Side:
    """Read a file of answers per bench, and the judgments beside it by the judge with this label, or by the only one.

    Raises UserError: a file that cannot be read, several judges, no judgments by `judge`, judgments of other answers.
    """
    answers, judgments, judges = {}, {}, set()
    for bench, file in files.items():
        read = read_answers(file)
        answers[bench] = {answer.question_id: answer.turns for answer in read}
        models = {answer.model_id for answer in read}
        label, found = judgments_beside(file, judge)
        for one in found:
            if one.model in models:
                said = answers[bench].get(one.question_id, [])
                if len(said) < one.turn or said[one.turn - 1] not in one.user_prompt:
                    raise UserError(f"{file}: question {one.question_id} was judged by another answer; judge again")
                judgments[bench, one.question_id, one.turn] = one
                judges.add(label)
    if len(judges) > 1:
        raise UserError(f"{title}: judged by {', '.join(sorted(judges))}; choose one of them by --judge")
    if judge and not judges:
        raise UserError(f"{title}: no judgments by {judge} lie beside the answers; run scripts.judge")
    return Side(title, judges.pop() if judges else None, answers, judgments, facts)


def judgments_beside(answers: Path, judge: str | None) -> tuple[str | None, list[Judgment]]:
    """A judge's label, and the judgments of this file of answers, or FastChat's of all models; (None, []) without any.

    Raises UserError if there are several judges and none is chosen.
    """
    folder = answers.parent.parent / "model_judgment"
    for ending in (f"_single.{answers.stem}.jsonl", "_single.jsonl"):
        files = {path.name.removesuffix(ending): path for path in sorted(folder.glob(f"*{ending}"))}
        if judge is not None:
            files = {name: path for name, path in files.items() if name == judge}
        if len(files) > 1:
            raise UserError(f"{answers}: judged by {', '.join(files)}; choose one of them by --judge")
        for name, path in files.items():
            return name, read_judgments(path)
    return None, []


def comparisons(benches: Sequence[QuestionSet], one: Side, other: Side) -> list[Comparison]:
    """Every question that both sides answer, in the order of the benches. Raises UserError if there is none."""
    found = []
    for bench in benches:
        for question in bench.questions:
            key = question.question_id
            said = [answers.answers.get(bench.name, {}).get(key) for answers in (one, other)]
            if None in said:
                continue
            references = bench.references.get(key, question.reference) or []
            turns = [
                ComparedTurn(asked, reference, both, tuple(s.judgments.get((bench.name, key, i)) for s in (one, other)))
                for i, (asked, reference, both) in enumerate(
                    zip(question.turns, chain(references, repeat(None)), zip(*said, strict=False), strict=False), 1
                )
            ]
            found.append(Comparison(bench.name, question, turns))
    if not found:
        raise UserError(f"{one.title} and {other.title} answer no question both; name answers to the same bench")
    return found


def summary(benches: Sequence[QuestionSet], one: Side, other: Side, compared: Sequence[Comparison]) -> list[SummaryRow]:
    """A row for each bench, each of its turns and each category."""
    rows = []
    for bench in benches:
        scores = [
            means(bench, [judgment for key, judgment in answers.judgments.items() if key[0] == bench.name])
            for answers in (one, other)
        ]
        for metric in scores[0] | scores[1]:
            group = metric.removeprefix(METRICS[bench.name]).removeprefix("_").replace("_", " ")
            outcomes = [
                (turn.scores[0] > turn.scores[1]) - (turn.scores[0] < turn.scores[1])
                for pair in compared
                if pair.bench == bench.name
                for number, turn in enumerate(pair.turns, 1)
                if turn.scores and group in ("", f"turn {number}", pair.question.category.replace("-", " "))
            ]
            values = (scores[0].get(metric), scores[1].get(metric))
            rows.append(SummaryRow(bench.name, group or "all", values, *(outcomes.count(sign) for sign in (1, 0, -1))))
    return rows


def render(benches: Sequence[QuestionSet], one: Side, other: Side) -> str:
    """The page; it escapes every text and loads nothing. Raises UserError: different judges; see `comparisons`."""
    if one.judge and other.judge and one.judge != other.judge:
        raise UserError(
            f"judged by different judges, whose scores do not compare: {one.judge}, {other.judge}; choose by --judge"
        )
    compared = comparisons(benches, one, other)
    used = [bench for bench in benches if any(pair.bench == bench.name for pair in compared)]
    style = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return (
        Environment(loader=FileSystemLoader(TEMPLATE.parent), **style)
        .get_template(TEMPLATE.name)
        .render(
            sides=(one, other),
            failures=[failures(list(answers.judgments.values())) for answers in (one, other)],
            pairs=compared,
            lines=summary(used, one, other, compared),
            categories=list(dict.fromkeys(pair.question.category for pair in compared)),
            unscored=FAILURE,
        )
    )

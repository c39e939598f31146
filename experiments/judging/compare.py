"""Two sets of answers side by side, question by question, as one HTML page that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.errors import UserError
from experiments.judging.answers import read_answers
from experiments.judging.grading import FAILURE, METRICS, Judgment, failures, means, read_judgments
from experiments.judging.questions import Bench, Question

TEMPLATE = Path(__file__).with_name("compare.html")


@dataclass(frozen=True)
class Side:
    """Answers by bench and question, and their judgments by bench, question and turn, where there are any.

    judge: by whom, None where nothing was judged; facts: what else is to be said of the answers.
    """

    title: str
    judge: str | None
    answers: dict[str, dict[int, list[str]]]
    judgments: dict[tuple[str, int, int], Judgment]
    facts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Turn:
    """What was asked, what both said to it, and the judge's words of both, or None."""

    question: str
    reference: str | None
    answers: tuple[str, str]
    judgments: tuple[Judgment | None, Judgment | None]

    @property
    def scores(self) -> tuple[float, float] | None:
        """Of both, where both have one."""
        found = [one.score for one in self.judgments if one and one.score != FAILURE]
        return (found[0], found[1]) if len(found) == 2 else None


@dataclass(frozen=True)
class Pair:
    """Both answers to one question."""

    bench: str
    question: Question
    turns: list[Turn]

    @property
    def difference(self) -> float | None:
        """The mean score of the first less that of the second, over the turns where both have one."""
        both = [turn.scores for turn in self.turns if turn.scores]
        return fmean(one - other for one, other in both) if both else None

    @property
    def outcome(self) -> str:
        """Who is better: a, b, tie, or none where there are no scores."""
        if self.difference is None:
            return "none"
        return "tie" if self.difference == 0 else "a" if self.difference > 0 else "b"


@dataclass(frozen=True)
class Line:
    """One line of the summary: both means, or None, and how many turns each side has won."""

    bench: str
    name: str
    scores: tuple[float | None, float | None]
    wins: int
    ties: int
    losses: int


def side(title: str, files: dict[str, Path], judge: str | None, facts: Sequence[str] = ()) -> Side:
    """Read answers by bench, and the judgments beside each file: by `judge`, its label, or by whoever is alone there.

    Raises UserError: a file that cannot be read, several judges, none of that label, or judgments of other answers.
    """
    answers, judgments, judges = {}, {}, set()
    for bench, file in files.items():
        read = read_answers(file)
        answers[bench] = {answer.question_id: answer.turns for answer in read}
        models = {answer.model_id for answer in read}
        name, found = judgments_beside(file, judge)
        for one in found:
            if one.model in models:
                said = answers[bench].get(one.question_id, [])
                if len(said) < one.turn or said[one.turn - 1] not in one.user_prompt:
                    raise UserError(f"{file}: question {one.question_id} was judged by another answer; judge again")
                judgments[bench, one.question_id, one.turn] = one
                judges.add(name)
    if len(judges) > 1:
        raise UserError(f"{title}: judged by {', '.join(sorted(judges))}; choose one of them by --judge")
    if judge and not judges:
        raise UserError(f"{title}: no judgments by {judge} lie beside the answers; run scripts.judge")
    return Side(title, judges.pop() if judges else None, answers, judgments, list(facts))


def judgments_beside(answers: Path, judge: str | None) -> tuple[str | None, list[Judgment]]:
    """The judge's label and the judgments: of this file of answers alone, else FastChat's of all models; or none.

    Raises UserError where there are several judges and none is chosen.
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


def pairs(benches: Sequence[Bench], one: Side, other: Side) -> list[Pair]:
    """Every question that both have answered, in the order of the benches. Raises UserError where there is none."""
    found = []
    for bench in benches:
        for question in bench.questions:
            name = question.question_id
            said = [answers.answers.get(bench.name, {}).get(name) for answers in (one, other)]
            if None in said:
                continue
            reference = bench.references.get(name, question.reference) or []
            turns = [
                Turn(
                    asked,
                    reference[i] if i < len(reference) else None,
                    (said[0][i], said[1][i]),
                    tuple(answers.judgments.get((bench.name, name, i + 1)) for answers in (one, other)),
                )
                for i, asked in enumerate(question.turns[: min(map(len, said))])
            ]
            found.append(Pair(bench.name, question, turns))
    if not found:
        raise UserError(f"{one.title} and {other.title} answer no question both; name answers to the same bench")
    return found


def summary(benches: Sequence[Bench], one: Side, other: Side, compared: Sequence[Pair]) -> list[Line]:
    """A line for each bench, each of its turns and each category."""
    lines = []
    for bench in benches:
        scores = [
            means(bench, [judgment for key, judgment in answers.judgments.items() if key[0] == bench.name])
            for answers in (one, other)
        ]
        name = METRICS[bench.name]
        for key in scores[0] | scores[1]:
            group = key.removeprefix(name).removeprefix("_").replace("_", " ")
            both = [
                turn.scores
                for pair in compared
                if pair.bench == bench.name
                for number, turn in enumerate(pair.turns, 1)
                if turn.scores and group in ("", f"turn {number}", pair.question.category.replace("-", " "))
            ]
            outcomes = [(a > b) - (a < b) for a, b in both]
            values = (scores[0].get(key), scores[1].get(key))
            lines.append(Line(bench.name, group or "all", values, *(outcomes.count(sign) for sign in (1, 0, -1))))
    return lines


def render(benches: Sequence[Bench], one: Side, other: Side) -> str:
    """The page. Every text in it is escaped, and it loads nothing. Raises UserError: see `pairs`; different judges."""
    if one.judge and other.judge and one.judge != other.judge:
        raise UserError(
            f"judged by different judges, whose scores do not compare: {one.judge}, {other.judge}; choose by --judge"
        )
    compared = pairs(benches, one, other)
    used = [bench for bench in benches if any(pair.bench == bench.name for pair in compared)]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(
        sides=(one, other),
        failures=[failures(list(answers.judgments.values())) for answers in (one, other)],
        pairs=compared,
        lines=summary(used, one, other, compared),
        categories=list(dict.fromkeys(pair.question.category for pair in compared)),
        unscored=FAILURE,
    )

"""FastChat's grading of single answers: fills the prompts, finds the ratings in the replies, and averages them.

The first turn of every question is graded, and the second where there is one. Categories in NEED_REFERENCE use the
prompts with a reference answer. RULES find the rating in a reply; scores by different rules are not comparable. A
rating outside 1 to 10, which FastChat would count, is a failure like a missing one: its score is -1, and the means
leave it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from experiments.errors import UserError
from experiments.judging.answers import Answer
from experiments.judging.cache import Reply
from experiments.judging.questions import Question, QuestionSet
from experiments.judging.rating import RULES
from experiments.lines import Line
from experiments.record import Rule

TEMPERATURE, MAX_TOKENS = 0.0, 2048
NEED_REFERENCE = ("math", "reasoning", "coding")
FAILURE = -1.0
METRICS = {"mt_bench": "mt_bench", "vicuna_bench": "vicuna"}  # the names of a bench's scores in a record


@dataclass(frozen=True)
class Grading:
    """One grade to ask for: of one turn of an answer, by a filled prompt."""

    question_id: int
    turn: int
    model: str
    prompt: str
    system: str
    user: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is sent to the judge."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]


class Judgment(Line):
    """One grade, a line of FastChat's <judge>_single.jsonl. judge: the names of the judge and of the prompt."""

    KEY = ("model", "question_id", "turn")

    question_id: int
    model: str
    judge: tuple[str, str]
    user_prompt: str
    judgment: str
    score: float
    turn: int
    tstamp: float


def gradings(bench: QuestionSet, answers: Sequence[Answer]) -> list[Grading]:
    """The grades to ask for, in FastChat's order: by turn, those with a reference answer last.

    Raises UserError: a question without an answer or reference, an answer to an unknown question, a missing turn, or a
    prompt that is missing or has other fields.
    """
    given = {answer.question_id: answer for answer in answers}
    _check(bench, given)
    wanted = [
        (turn, question.category in NEED_REFERENCE, question)
        for turn in (1, 2)
        for question in bench.questions
        if turn == 1 or len(question.turns) == 2
    ]
    wanted.sort(key=lambda one: one[:2])
    return [_fill(bench, question, given[question.question_id], turn) for turn, _, question in wanted]


def _check(bench: QuestionSet, given: dict[int, Answer]) -> None:
    """Raises UserError unless questions, answers and references match."""
    questions = {question.question_id: question for question in bench.questions}
    needy = {name for name, question in questions.items() if question.category in NEED_REFERENCE}
    problems = {
        "no answer to question": questions.keys() - given.keys(),
        f"answers that are not to {bench.name}'s questions:": given.keys() - questions.keys(),
        "too few turns answered of question": {
            name
            for name in questions.keys() & given.keys()
            if len(given[name].turns) < min(2, len(questions[name].turns))
        },
        f"too few turns in {bench.files['references']} of question": {
            name for name in needy if len(bench.references.get(name, ())) < min(2, len(questions[name].turns))
        },
    }
    for problem, names in problems.items():
        if names:
            raise UserError(f"{bench.name}: {problem} {', '.join(map(str, sorted(names)))}; make the file complete")


def _fill(bench: QuestionSet, question: Question, answer: Answer, turn: int) -> Grading:
    needs_reference = question.category in NEED_REFERENCE
    name = ("single-math-v1" if needs_reference else "single-v1") + ("-multi-turn" if turn == 2 else "")
    if name not in bench.prompts:
        raise UserError(f"{bench.files['prompts']}: has no prompt {name}; fetch the file anew")
    if turn == 1:
        fields = {"question": question.turns[0], "answer": answer.turns[0]}
    else:
        fields = {f"question_{i}": text for i, text in enumerate(question.turns, 1)}
        fields |= {f"answer_{i}": text for i, text in enumerate(answer.turns, 1)}
    if needs_reference:
        fields |= {f"ref_answer_{i}": text for i, text in enumerate(bench.references[question.question_id], 1)}
    try:
        user = bench.prompts[name].prompt_template.format(**fields)
    except (KeyError, IndexError, ValueError) as error:
        remedy = f"its fields are {', '.join(fields)}"
        raise UserError(f"{bench.files['prompts']}: prompt {name} cannot be filled ({error!r}); {remedy}") from error
    system = bench.prompts[name].system_prompt
    return Grading(question.question_id, turn, answer.model_id, name, system, user)


def score(judgment: str, rule: Rule) -> float:
    """The rating from 1 to 10 that the rule finds in a reply, or FAILURE."""
    found = RULES[rule](judgment)
    return found if found is not None and 1 <= found <= 10 else FAILURE


def judged(wanted: Sequence[Grading], replies: Sequence[Reply], rule: Rule) -> list[Judgment]:
    """The judge's replies as judgments, with scores."""
    return [
        Judgment(
            question_id=one.question_id,
            model=one.model,
            judge=(reply.asked, one.prompt),
            user_prompt=one.user,
            judgment=reply.content,
            score=score(reply.content, rule),
            turn=one.turn,
            tstamp=reply.tstamp,
        )
        for one, reply in zip(wanted, replies, strict=True)
    ]


def means(bench: QuestionSet, judgments: Sequence[Judgment]) -> dict[str, float]:
    """Mean scores: over all, per turn where there are two, and per category; none for a group without a score."""
    names = {question.question_id: question.category.replace("-", "_") for question in bench.questions}
    turns = (1, 2) if any(len(question.turns) == 2 for question in bench.questions) else ()
    groups = {"": [], **{f"_turn_{turn}": [] for turn in turns}, **{f"_{name}": [] for name in names.values()}}
    for one in judgments:
        for group in ("", f"_turn_{one.turn}", f"_{names[one.question_id]}"):
            if group in groups and one.score != FAILURE:
                groups[group].append(one.score)
    return {f"{METRICS[bench.name]}{group}": fmean(scores) for group, scores in groups.items() if scores}


def failures(judgments: Sequence[Judgment]) -> int:
    """The number of judgments without a score."""
    return sum(one.score == FAILURE for one in judgments)

"""Judged records: copies of runs' records with the scores of a judge; and where answers and judgments are stored.

    <runs>/<exp>/<model>/<method>/seed<seed>-<hash>/<last|best>/model_answer/<bench>.jsonl              the answers
    <runs>/<exp>/<model>/<method>/seed<seed>-<hash>/<last|best>/model_judgment/<judge>_single.<bench>.jsonl
    <out>/<judge>/<exp>/<model>/<method>/seed<seed>-<hash>.json                                         the record

<judge> is `Judge.label`. If the best epoch is the last one, the answers are in last/ only, and their scores hold for
both selections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import record as records
from experiments.errors import UserError
from experiments.judging.cache import Reply
from experiments.judging.client import Client
from experiments.judging.grading import (
    FAILURE,
    MAX_TOKENS,
    METRICS,
    TEMPERATURE,
    Grading,
    Judgment,
    failures,
    judged,
    means,
)
from experiments.judging.questions import BenchName, QuestionSet
from experiments.record import Judge, Record, Rule, Selection, Selections

TOLERATED = 0.5  # share of judgments without a score above which a mean is meaningless
COUNTS = ("judgments", "failures", "prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Grades:
    """The judgments of one file of answers. scores: their means. counts: the value of each of COUNTS.
    cut: the failures whose replies ended at MAX_TOKENS.
    """

    bench: BenchName
    rule: Rule
    judgments: list[Judgment]
    scores: dict[str, float]
    counts: dict[str, int]
    cut: int
    revision: str | None


def grade(client: Client, bench: QuestionSet, wanted: Sequence[Grading], rule: Rule) -> Grades:
    """Ask the judge for every grade. Raises UserError: see `Client.complete`; too few scores; several models."""
    replies = client.complete([one.messages for one in wanted], TEMPERATURE, MAX_TOKENS, bench.name)
    judgments = judged(wanted, replies, rule)
    failed = failures(judgments)
    ended = zip(replies, judgments, strict=True)
    cut = sum(reply.finish_reason == "length" and one.score == FAILURE for reply, one in ended)
    if failed > TOLERATED * len(judgments):
        first = next(one.judgment for one in judgments if one.score == FAILURE)
        why = f"; {cut} replies were cut at {MAX_TOKENS} tokens" if cut else ""
        raise UserError(
            f"{bench.name}: in {failed} of {len(judgments)} judgments the rule {rule!r} finds no score from 1 to 10 as "
            f"[[8]], the first is {first[:200]!r}{why}; choose a judge that follows the prompt, or another --rule"
        )
    tokens = sum(reply.prompt_tokens for reply in replies), sum(reply.completion_tokens for reply in replies)
    counts = dict(zip(COUNTS, (len(judgments), failed, *tokens), strict=True))
    named = client.endpoint.revision or revision(replies)
    return Grades(bench.name, rule, judgments, means(bench, judgments), counts, cut, named)


def revision(replies: Sequence[Reply]) -> str | None:
    """The endpoint's name for the model that replied. Raises UserError if there were several."""
    names = {reply.model for reply in replies}
    if len(names) > 1:
        raise UserError(
            f"the judgments are by several models: {', '.join(sorted(map(str, names)))}; name one of them by --model"
        )
    return names.pop()


def is_finished(record: Record) -> bool:
    """Whether the run ended well and has a test set."""
    return record.metrics is not None and record.metrics.test is not None


def selections(record: Record, selection: Selection) -> tuple[Selection, ...]:
    """The selections that share the adapter of this one: both if the best epoch is the last."""
    if not is_finished(record):
        raise UserError(f"{record.name}: not a finished run with a test set ({record.status}); let it finish")
    return ("last", "best") if record.metrics.best_is_last else (selection,)


def answers_file(record: Record, runs: Path, selection: Selection, bench: BenchName) -> Path:
    """Where a run's answers are, if any. Raises UserError for an unfinished run."""
    folder = Path(runs) / record.name / selections(record, selection)[0]
    return folder / "model_answer" / f"{bench}.jsonl"


def lacking(answers: Sequence[Path]) -> UserError:
    """The error where none of these files exists."""
    where = answers[0] if answers else "none of the records is of a finished run with a test set"
    return UserError(f"{where}: there are no such answers; run it again (force=true), or name its folder by --runs")


def judgments_file(answers: Path, judge: str) -> Path:
    """Where FastChat puts the judgments of a file of answers, by the judge's label."""
    return answers.parent.parent / "model_judgment" / f"{judge}_single.{answers.stem}.jsonl"


def judged_record(
    record: Record,
    old: Record | None,
    grades: Grades,
    selection: Selection,
    *,
    judge: str,
    prompts: str,
    price: Sequence[float] | None = None,
) -> Record:
    """`record` with these grades under the selection, and with the grades in `old`, the earlier judged record.

    judge: the requested model; prompts: `questions.digest`. Counts and cost cover all grades together; without a price
    the cost in `old` is kept if no grade was added. Raises UserError if `old` has another judge, rule, prompts or run.
    """
    known = {"name": judge, "revision": grades.revision, "prompts": prompts, "rule": grades.rule}
    if old:
        _same(record, old, known)
    of_bench = METRICS[grades.bench]
    new = grades.scores | {f"{of_bench}_{count}": value for count, value in grades.counts.items()}
    test = {name: dict(found) for name, found in record.metrics.test}
    for name, found in test.items():
        earlier = getattr(old.metrics.test, name) if old else {}
        found |= {key: value for key, value in earlier.items() if key.startswith(tuple(METRICS.values()))}
        if name in selections(record, selection):
            test[name] = {key: value for key, value in found.items() if not key.startswith(of_bench)} | new
    apart = [test[name] for name in {selections(record, name)[0] for name in test}]
    totals = {
        count: sum(int(found.get(f"{bench}_{count}", 0)) for found in apart for bench in METRICS.values())
        for count in COUNTS
    }
    who = Judge(**known, **totals, ended=records.now())
    if price:
        spent = cost(price, who.prompt_tokens, who.completion_tokens)
    else:
        unchanged = old and all(getattr(old.judge, count) == totals[count] for count in COUNTS)
        spent = old.judge.cost_usd if unchanged else None
    metrics = record.metrics.model_copy(update={"test": Selections(**test)})
    return record.model_copy(update={"judge": who.model_copy(update={"cost_usd": spent}), "metrics": metrics})


def cost(price: Sequence[float], prompt_tokens: int, completion_tokens: int) -> float:
    """In USD. price: per million tokens in, and per million out."""
    return (price[0] * prompt_tokens + price[1] * completion_tokens) / 1e6


def _same(record: Record, old: Record, judge: dict[str, str | None]) -> None:
    """Raises UserError unless both are of the same run, and `old` by this judge."""
    remedy = "move the older file away, or give another --out"
    if (old.started, old.ended) != (record.started, record.ended):
        raise UserError(f"{record.name}: the earlier judged record is of a run that ended {old.ended}; {remedy}")
    for key, value in judge.items():
        if (before := getattr(old.judge, key, None)) != value:
            raise UserError(f"{record.name}: the judge's {key} was {before!r}, now it is {value!r}; {remedy}")

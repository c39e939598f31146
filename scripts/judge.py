"""Have a judge grade the answers of runs to MT-Bench and Vicuna, as FastChat does.

    export OPENAI_API_KEY=...                                     # and OPENAI_BASE_URL, for another endpoint
    python -m scripts.judge results/records/instruct/*/*/*.json --model gpt-4 --price 30 60
    python -m scripts.judge --answers model_answer/vicuna-13b.jsonl --bench mt_bench --model gpt-4

A local judge is any server of OpenAI's protocol; these need no key, but some value must be given:

    vllm serve MODEL                                              # OPENAI_BASE_URL=http://localhost:8000/v1
    llama-server -m FILE.gguf --port 8080 -c 16384 -np 2          # OPENAI_BASE_URL=http://localhost:8080/v1

    export OPENAI_BASE_URL=http://localhost:8080/v1 OPENAI_API_KEY=none
    python -m scripts.judge RECORD.json --model NAME --revision FILE.gguf --parallel 2

Every reply is kept in --cache at once: after an interruption the same command continues, and no grade is requested
twice. FastChat's file of judgments is written beside the answers (model_judgment/), and a copy of the run's record with
the scores into results/judged/<judge>/. Both benches need 240 judgments per run. Runs that failed or have no answers
are skipped. Exit code 2 for a wrong option or an endpoint that refuses, 130 after an interruption.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import record as records
from experiments.command import Command
from experiments.errors import UserError
from experiments.judging import judged
from experiments.judging.answers import Answer
from experiments.judging.cache import opened
from experiments.judging.client import Client, Endpoint
from experiments.judging.grading import MAX_TOKENS, METRICS, Grading, gradings
from experiments.judging.judged import Grades, grade
from experiments.judging.questions import BENCHES, QuestionSet, digest, find_bench
from experiments.judging.rating import RULES
from experiments.lines import read_lines, write_lines
from experiments.record import Record
from experiments.report.render import Table, markdown, number


@dataclass(frozen=True)
class Work:
    """Answers to be graded, and the record of their run, if there is one. prompts: the digest that it will tell."""

    bench: QuestionSet
    answers: Path
    wanted: list[Grading]
    record: Record | None = None
    prompts: str | None = None


def plan(options: argparse.Namespace) -> list[Work]:
    """All answers to be graded, read and checked before the first request. Raises UserError."""
    if bool(options.records) == bool(options.answers):
        raise UserError("give records, or --answers FILE with --bench, and not both")
    if options.answers and not options.bench:
        raise UserError(f"--answers needs --bench: one of {', '.join(BENCHES)}")
    names = [options.bench] if options.answers else dict.fromkeys(options.benches)
    benches = {name: find_bench(options.assets, name) for name in names}
    if options.answers:
        places = [(benches[options.bench], options.answers, None)]
    else:
        places = [
            (bench, judged.answers_file(run, options.runs, options.selection, name), run)
            for run in map(records.read, options.records)
            for name, bench in benches.items()
            if judged.is_finished(run)
        ]
        answered = [place for place in places if place[1].is_file()]
        for bench, path, run in places if answered else ():
            if not path.is_file():
                print(f"passed over: {run.name} has no answers to {bench.name}", file=sys.stderr)
        if not answered:
            raise judged.lacking([path for _, path, _ in places])
        places = answered
    prompts = digest(options.assets) if options.records else None
    return [Work(bench, path, gradings(bench, read_lines(path, Answer)), run, prompts) for bench, path, run in places]


def judge(work: Work, client: Client, options: argparse.Namespace) -> Grades:
    """Grade, and write the judgments, and for a run its judged record. Raises UserError."""
    grades = grade(client, work.bench, work.wanted, options.rule)
    name = client.endpoint.model
    label = records.judge_label(name, grades.revision, grades.rule)
    write_lines(judged.judgments_file(work.answers, label), grades.judgments)
    if work.record:
        path = options.out / label / f"{work.record.name}.json"
        old = records.read(path) if path.exists() else None
        known = {"judge": name, "prompts": work.prompts, "price": options.price}
        records.write(judged.judged_record(work.record, old, grades, options.selection, **known), path)
        print(f"written: {path}")
    return grades


def report(done: Sequence[tuple[Work, Grades]]) -> str:
    """One table per bench: the scores over both turns, by turn and by category, and the counts; and why some failed."""
    blocks = []
    for bench in dict.fromkeys(grades.bench for _, grades in done):
        of_bench = [(work, grades) for work, grades in done if grades.bench == bench]
        keys = list(dict.fromkeys(key for _, grades in of_bench for key in grades.scores))
        titles = ["all", *(key.removeprefix(f"{METRICS[bench]}_").replace("_", " ") for key in keys[1:])]
        rows = [
            [
                work.record.name if work.record else work.answers.stem,
                *(number(grades.scores.get(key), 2) for key in keys),
                *(f"{value:,}" for value in grades.counts.values()),
            ]
            for work, grades in of_bench
        ]
        table = Table(bench, ["answers", *titles, *(count.replace("_", " ") for count in judged.COUNTS)], rows)
        blocks.append(f"{bench}\n\n{markdown(table)}")
        if cut := sum(grades.cut for _, grades in of_bench):
            blocks.append(f"{cut} of the failures: the judge's reply was cut at {MAX_TOKENS} tokens\n")
    return "\n".join(blocks)


def expense(client: Client, price: Sequence[float] | None) -> str:
    """Requests, tokens and cost of this command, in one line."""
    words = f"calls {client.calls}, cached {client.cached}, tokens in {client.prompt_tokens:,}"
    words += f", tokens out {client.completion_tokens:,}"
    if price:
        words += f", cost {judged.cost(price, client.prompt_tokens, client.completion_tokens):.2f} USD"
    return f"{words}; judge {client.endpoint.model}; cache {client.cache.path}"


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    if not 0 < float(text) < float("inf"):
        raise ValueError(text)
    return float(text)


def judge_all(options: argparse.Namespace) -> None:
    """Judge all chosen answers; print scores and expense, also after an error. Raises UserError."""
    if options.parallel < 1:
        raise UserError(f"--parallel {options.parallel}: give 1 or more")
    works, done = plan(options), []
    settings = {key: getattr(options, key) for key in ("revision", "rate", "parallel", "timeout")}
    endpoint = Endpoint.from_environment(options.model, **settings)
    with opened(options.cache or options.runs / "judged.jsonl") as cache:
        client = Client(endpoint, cache)
        try:
            for work in works:
                done.append((work, judge(work, client, options)))
        finally:
            print(f"\n{report(done)}\n{expense(client, options.price)}")


main = Command("judge", __doc__, judge_all)
main.add_cluster()
main.add_argument("records", type=Path, nargs="*", metavar="RECORD.json", help="of runs, whose answers are in --runs")
main.add_argument("--selection", choices=("last", "best"), default="last", help="the epoch whose answers are graded")
main.add_argument("--benches", nargs="+", choices=BENCHES, default=BENCHES)
main.add_argument("--answers", type=Path, metavar="FILE", help="answers in FastChat's format, instead of records")
main.add_argument("--bench", choices=BENCHES, help="the bench of --answers")
main.add_argument("--model", metavar="NAME", help="the judge (default: OPENAI_MODEL)")
main.add_argument("--revision", help="its version, if the endpoint reports none; another version judges again")
main.add_argument(
    "--rule",
    choices=RULES,
    default="agreed",
    help="agreed: the only rating outside the reasoning; fastchat: the first one",
)
main.add_argument("--price", nargs=2, type=positive, metavar=("IN", "OUT"), help="USD per million tokens")
main.add_argument("--rate", type=positive, metavar="N", help="requests per minute with retries (default: no limit)")
main.add_argument("--parallel", type=int, default=4, metavar="N", help="concurrent requests (default: %(default)s)")
main.add_argument("--timeout", type=positive, default=300.0, metavar="S", help="seconds to wait for an answer")
main.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
main.add_assets()
main.add_argument("--cache", type=Path, metavar="FILE", help="of replies; default judged.jsonl in --runs")
main.add_results(out="judged")

if __name__ == "__main__":
    main.start()

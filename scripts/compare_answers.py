"""Compare the answers of two adapters to MT-Bench and Vicuna on one HTML page, with the grades of a judge.

    python -m scripts.compare_answers A.json B.json --out page.html
    python -m scripts.compare_answers A.jsonl B.jsonl --bench mt_bench --out page.html

A and B are records of runs, judged records (results/judged/), or files of answers in FastChat's format. The grades are
those that scripts.judge has put beside the answers: by the judge of a judged record, by --judge, or by the only one.
Exit code 2 for a wrong option or file.
"""

import argparse
import sys
from pathlib import Path

from experiments import record as records
from experiments.command import Command
from experiments.errors import UserError
from experiments.judging import compare, judged
from experiments.judging.compare import Side
from experiments.judging.questions import BENCHES, find_bench
from experiments.record import Record, replace_file


def read(file: Path, options: argparse.Namespace) -> Side:
    """One side of the page. Raises UserError."""
    if file.suffix == ".jsonl":
        if not options.bench:
            raise UserError(f"{file}: give --bench, the bench that it answers: one of {', '.join(BENCHES)}")
        return compare.side(file.stem, {options.bench: file}, options.judge)
    record = records.read(file)
    benches = [options.bench] if options.bench else BENCHES
    places = {bench: judged.answers_file(record, options.runs, options.selection, bench) for bench in benches}
    found = {bench: path for bench, path in places.items() if path.is_file()}
    if not found:
        raise judged.lacking([places[benches[0]]])
    judge = options.judge or (record.judge and record.judge.label)
    return compare.side(record.name, found, judge, facts(record, options.selection))


def facts(record: Record, selection: str) -> list[str]:
    """Lines on a run for the reader."""
    scores = getattr(record.metrics.test, selection)
    return [
        f"{record.model.name}, {record.method}, seed {record.seed}, scale {record.scale}, {selection} epoch",
        f"{record.params.adapter:,} parameters trained",
        f"{record.metrics.primary} on the test set {scores[record.metrics.primary]:.4f}",
    ]


def work(options: argparse.Namespace) -> None:
    """Write the page. Raises UserError."""
    one, other = read(options.a, options), read(options.b, options)
    names = [bench for bench in BENCHES if bench in one.answers and bench in other.answers]
    page = compare.render([find_bench(options.assets, bench) for bench in names], one, other)
    replace_file(options.out, page.encode())
    print(f"written: {options.out}")


main = Command("compare_answers", __doc__, work)
main.add_argument("a", type=Path, metavar="A", help="RECORD.json, or answers as .jsonl")
main.add_argument("b", type=Path, metavar="B")
main.add_argument("--out", type=Path, required=True, metavar="PAGE.html")
main.add_argument("--bench", choices=BENCHES, help="this one alone; needed for files of answers")
main.add_argument("--judge", metavar="LABEL", help="as its files are called, such as gpt-4@gpt-4-0613")
main.add_argument("--selection", choices=("last", "best"), default="last", help="whose answers: which epoch's")
main.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
main.add_assets()

if __name__ == "__main__":
    sys.exit(main())

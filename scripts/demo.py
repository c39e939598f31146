"""The paper's four kinds of experiment on miniatures, FourierFT beside LoRA, then tables and pictures of what came out.

    python -m scripts.demo [--out build/demo] [--jobs 2]

Everything that it needs is in this repository. The scores are those of miniatures on generated tasks: they show that
the whole way works, and decide nothing about the paper. A run with a record is not repeated, so a demonstration that
was interrupted goes on. Exit code 1 if a run failed, 130 after an interruption.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.command import Command
from experiments.names import name
from experiments.paper.score_tables import leading_column, table_of
from experiments.recipes import CONFIGS
from experiments.record import find
from experiments.report import pareto, scores
from experiments.report.aggregate import Row, by_experiment, rows
from experiments.report.labels import in_order
from experiments.report.render import Table, markdown, number
from experiments.style import save_all
from experiments.work import is_worker
from run import sweep

RUNS = {
    "glue_rte": ("fourierft", "lora", "head_only"),
    "vit_cifar": ("fourierft", "lora", "head_only"),
    "e2e_gpt2_medium": ("fourierft", "lora"),
    "instruct_llama2_7b": ("fourierft", "lora_qv"),
}
PICTURES = {
    "rank.png": "singular values and ranks of delta_W",
    "images.png": "training images as the model sees them",
    "mistakes.png": "the worst of the test set",
}


def demo(options: argparse.Namespace) -> int:
    """Carry out the runs and show what came of them; returns the exit code."""
    began, out = time.perf_counter(), options.out
    places = [f"record.dir={out}/records", f"runs={out}/runs", "scale=mini"]
    code = sweep([[f"+exp={exp}", f"method={method}", *places] for exp, own in RUNS.items() for method in own])
    if is_worker():  # their command shows it, once for all
        return code
    found = rows(find(out / "records"))
    print(f"\n{markdown(compared(found))}")
    for page in scores.pages(found, [], {}, CONFIGS, {}):
        print(*page.write_texts(out / "tables"), sep="\n")
    for (exp, *_), own in pareto.groups(found).items():
        print(*save_all(pareto.draw(own, exp), out / "figures", f"pareto_{exp}"), sep="\n")
    for picture, shows in PICTURES.items():
        print(*(f"{path}: {shows}" for path in sorted(out.glob(f"runs/*/*/fourierft/*/{picture}"))), sep="\n")
    print(f"{time.perf_counter() - began:.0f} s")
    return code


def compared(found: Sequence[Row]) -> Table:
    """What every run trained, its score and its time."""
    lines = []
    for (exp, *_), own in by_experiment(found).items():
        column, selection = leading_column(exp), table_of(exp).selection
        for row, label in in_order(own, exp):
            cell = row.cells[exp]
            run = cell.runs[0]
            metric = "held-out loss" if column.loss else name(column.metric or run.metrics.primary)
            score = f"{metric} {number(cell.centre(selection, column), column.digits)}"
            lines.append([name(exp), label, f"{cell.trained:,.0f}", score, f"{run.cost.train_s:.0f}"])
    return Table("", ["Experiment", "Method", "Trained, without the head", "Score", "Training, s"], lines)


main = Command("demo", __doc__, demo)
main.add_jobs()
main.add_argument("--out", type=Path, default=Path("build/demo"), help="default: %(default)s")

if __name__ == "__main__":
    main.start()

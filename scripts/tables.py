"""Table 2 (GLUE) as Markdown and LaTeX, one a scale, the bench's table, Table 1 and every count of parameters, and
results/README.md with the verdicts.

    python -m scripts.tables [--records results/records] [--bench results/bench] [--parameters results/parameters]
                             [--paper results/paper] [--out results/tables]

The same records give the same bytes. Exit code 2 where a record or one of the paper's tables cannot be read.
"""

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from experiments.analysis import sizes, speed
from experiments.analysis.aggregate import SEEDS, Cell, Row, Selection, rows
from experiments.analysis.paper import PaperRow, beside, is_of, listed, read_paper, read_shares
from experiments.analysis.render import DASH, Table, latex, markdown, page
from experiments.analysis.verdicts import Claim, claims, signed, title
from experiments.errors import UserError
from experiments.record import find, replace_file

TASKS = {
    "glue_sst2": "SST-2",
    "glue_mrpc": "MRPC",
    "glue_cola": "CoLA",
    "glue_qnli": "QNLI",
    "glue_rte": "RTE",
    "glue_stsb": "STS-B",
}  # in the paper's order
MARKS = [
    f"a ± s ×k: the median and the sample standard deviation (n-1) over k seeds, in percent. {DASH}: not run.",
    "† not all of the paper's five seeds. ‡ code not at a clean commit. OOM, failed, cancelled: seeds that ended so.",
    "Params are trained without the head (AdaLoRA's: at its start). Trials: hyper-parameter trials behind our recipe.",
]
AGAINST_PAPER = "In brackets: the difference to the paper's number for the same model, method and settings, in points."


def score(cell: Cell | None, selection: Selection, printed: float | None = None) -> str:
    """One of our cells: median, spread, seeds, marks, difference to the paper's `printed` number, failures."""
    if cell is None:
        return DASH
    parts = [f"{count} {'OOM' if status == 'oom' else status}" for status, count in cell.failed.items()]
    if cell.runs:
        std = cell.std(selection)
        text = number(cell.median(selection)) + (f" ± {std:.1f}" if std is not None else "") + f" ×{len(cell.runs)}"
        text += ("" if cell.complete else "†") + ("‡" if cell.dirty else "")
        parts.insert(0, text if printed is None else f"{text} ({signed(cell.median(selection) - printed)})")
    return ", ".join(parts)


def number(value: float | None) -> str:
    """One decimal, or a dash."""
    return DASH if value is None else f"{value:.1f}".replace("-", "−")


def span(values: Iterable[int]) -> str:
    """The one value that all share, or the smallest and the largest, or a dash."""
    ends = sorted(set(values))
    return "–".join(f"{end:,}" for end in ends[:: max(len(ends) - 1, 1)]) or DASH


def cost(cell: Cell | None) -> str:
    """The median training time of a run and the median of the best epochs."""
    if cell is None or not cell.runs:
        return DASH
    minutes = statistics.median(run.cost.train_s for run in cell.runs) / 60
    return f"{minutes:.1f} min, epoch {statistics.median(run.metrics.best_epoch for run in cell.runs):g}"


def device(row: Row) -> str:
    """The hardware of a row's runs."""
    return ", ".join(sorted({run.hardware.gpu or run.hardware.cpu for run in row.runs})) or DASH


def tables(scale: str, ours: Sequence[Row], paper: Sequence[PaperRow]) -> list[Table]:
    """Best epoch (at the paper's scale below the paper's rows), last epoch, and cost."""
    best = []
    left = list(paper) if scale == "paper" else []
    for row in ours:
        above = [line for line in left if is_of(line, row)]
        left = [line for line in left if line not in above]
        best += [*map(paper_line, above), our_line(row, "best", beside(row, paper))]
    ran = [row for row in ours if row.cells]
    header = ["Model", "Method", "By", "Params", "Head", *TASKS.values(), "Avg", "Trials"]
    costs = [[row.model, title(row), *(cost(row.cells.get(exp)) for exp in TASKS), device(row)] for row in ran]
    return [
        Table(f"Table 2, GLUE, {scale} scale: best epoch on validation (the paper's protocol)", header, best),
        Table(f"Table 2, GLUE, {scale} scale: last epoch", header, [our_line(row, "last") for row in ran]),
        Table(
            f"Table 2, GLUE, {scale} scale: training time of a run, and best epoch (medians over seeds)",
            ["Model", "Method", *TASKS.values(), "Device"],
            costs,
        ),
    ]


def paper_line(row: PaperRow) -> list[str]:
    """A row as the paper prints it."""
    scores = []
    for exp in TASKS:
        task = exp.removeprefix("glue_")
        scores.append(f"{row.median[task]:.1f}" + (f" ± {row.std[task]:.1f}" if task in row.std else ""))
    return [row.model, row.title, "paper", row.params, DASH, *scores, f"{row.avg:.1f}", DASH]


def our_line(row: Row, selection: Selection, printed: PaperRow | None = None) -> list[str]:
    """A row from the records, beside what the paper printed."""
    reference = printed.median if printed else {}
    scores = [score(row.cells.get(exp), selection, reference.get(exp.removeprefix("glue_"))) for exp in TASKS]
    average = row.average(TASKS, selection)
    brackets = f" ({signed(average - printed.avg)})" if printed and average is not None else ""
    trials = span(run.trials for run in row.runs if run.trials is not None)
    counts = [span(getattr(run.params, part) for run in row.runs) for part in ("adapter", "head")]
    return [row.model, title(row), "ours", *counts, *scores, number(average) + brackets, trials]


def arranged(scale: str, found: Sequence[Row], paper: Sequence[PaperRow]) -> list[Row]:
    """Our rows in the paper's order of models and methods; at its scale also an empty one for each that was not run."""
    every = list(found)
    if scale == "paper":
        every += [not_run(line, paper) for line in paper if not any(is_of(line, row) for row in found)]
    models = [line.model for line in paper]

    def place(names: list[str], name: str) -> tuple[int, str]:
        return (names.index(name) if name in names else len(names), name)

    def order(row: Row) -> tuple[tuple[int, str], tuple[int, str]]:
        methods = [line.method for line in paper if line.model == row.model or row.model not in models]
        return place(models, row.model), place(methods, row.method)

    return sorted(every, key=order)


def not_run(line: PaperRow, paper: Sequence[PaperRow]) -> Row:
    """An empty row for one of the paper's; its settings are overrides where the paper has the method in two sizes."""
    sizes = [one for one in paper if (one.model, one.method) == (line.model, line.method)]
    overrides = line.settings if len(sizes) > 1 else {}
    return Row("paper", line.model, line.method, listed(line.settings), line.settings, overrides)


def recipes(file: Path) -> list[str]:
    """The tasks that a recipe's file serves: the rows of its table, or all where it has none."""
    if not file.is_file():
        return []
    cells = (yaml.safe_load(file.read_text()) or {}).get("cells", TASKS)
    return [exp for exp in TASKS if exp in cells]


def commands(ours: Iterable[Row], configs: Path) -> str:
    """The command that fills or repeats each row, for the rows that have recipes."""
    lines = []
    for row in ours:
        exps = recipes(configs / "recipe" / row.model / f"{row.method}.yaml")
        if exps:
            settings = [f"method.{key}={value}" for key, value in row.overrides.items()]
            command = [f"+exp={','.join(exps)}", f"scale={row.scale}", f"model={row.model}", f"method={row.method}"]
            command += [*settings, f"seed={','.join(map(str, SEEDS))}"]
            lines.append(f"# {row.model}, {title(row)}: {len(row.runs)} of {len(exps) * len(SEEDS)} runs recorded")
            lines.append(f"python run.py -m {' '.join(command)}")
    if not lines:
        return ""
    one = "python run.py +exp=glue_rte model=roberta_base method=lora seed=0"
    intro = f"A run that has its record is not repeated. One run: `{one}`."
    return "\n".join(["## Commands", "", intro, "", "```bash", *lines, "```", ""])


def bench_files(benches: Sequence[speed.Bench], out: Path) -> dict[Path, str]:
    """The tables of `make bench` by their paths; none where nothing was measured."""
    if not benches:
        return {}
    blocks, notes = speed.tables(benches), [*speed.NOTES, *speed.descriptions(benches)]
    return {
        out / "bench.md": page("Speed and memory", blocks, notes),
        out / "bench.tex": "\n".join(latex(block, notes) for block in blocks),
    }


def readme(present: dict[str, Sequence[Row]], benches: int, models: int, verdicts: Sequence[Claim], folder: str) -> str:
    """The index of results/: the tables, and claim by claim what was measured."""
    lines = ["# Results", "", "Generated from the records by `make tables`; not edited by hand.", "", "## Tables", ""]
    for scale, ours in present.items():
        ended = Counter({"ok": sum(len(row.runs) for row in ours)})
        ended.update(failure.status for row in ours for cell in row.cells.values() for failure in cell.failures)
        counts = ", ".join(f"{status} {count}" for status, count in sorted(ended.items()))
        file = f"{folder}/table2_glue_{scale}"
        lines.append(f"- [Table 2, GLUE, {scale} scale]({file}.md) ([LaTeX]({file}.tex)); runs: {counts}")
    if models:
        for name, what in sizes.PAGES.items():
            lines.append(f"- [{what}]({folder}/{name}.md) ([LaTeX]({folder}/{name}.tex)); models: {models}")
    if benches:
        file = f"{folder}/bench"
        lines.append(f"- [Speed and memory of a training step]({file}.md) ([LaTeX]({file}.tex)); cases: {benches}")
    overview = [[claim.name, claim.statement, claim.verdict] for claim in verdicts]
    lines += ["", "## The paper's claims", "", markdown(Table("", ["Claim", "What is claimed", "Verdict"], overview))]
    for claim in verdicts:
        if claim.measured:
            lines += [f"### {claim.name}: measured so far", "", *(f"- {line}" for line in claim.measured), ""]
    return "\n".join(lines).rstrip() + "\n"


def build(records: Path, bench: Path, parameters: Path, paper: Path, out: Path, configs: Path) -> list[Path]:
    """Write every table and the index; remove tables that have no record any more. Raises UserError."""
    whole_paper, shares = read_paper(paper), read_shares(paper)
    printed = whole_paper["table2_glue"]
    benches, full = find(bench, speed.Bench), find(parameters, sizes.Sizes)
    everything = rows(find(records))
    glue = [row for row in everything if row.cells.keys() & TASKS.keys()]
    scales = sorted({"paper"} | {row.scale for row in glue})
    present = {scale: arranged(scale, [row for row in glue if row.scale == scale], printed) for scale in scales}

    files = bench_files(benches, out) | sizes.files(whole_paper, full, out)
    for scale, ours in present.items():
        blocks = tables(scale, ours, printed)
        notes = [*MARKS, AGAINST_PAPER] if scale == "paper" else MARKS
        text = "".join(f"## {block.title.partition(': ')[2]}\n\n{markdown(block)}\n" for block in blocks if block.rows)
        legend = "\n".join(f"- {note}" for note in notes)
        text = f"# Table 2, GLUE, {scale} scale\n\n{text}{legend}\n\n{commands(ours, configs)}"
        files[out / f"table2_glue_{scale}.md"] = text.rstrip() + "\n"
        files[out / f"table2_glue_{scale}.tex"] = "\n".join(latex(block, notes) for block in blocks if block.rows)
    verdicts = claims(everything, printed, TASKS, benches, full, shares)
    files[out.parent / "README.md"] = readme(present, len(benches), len(full), verdicts, out.name)

    for path, text in files.items():
        replace_file(path, text.encode())
    ours = ("table2_glue_*", "bench.*", *(f"{name}.*" for name in sizes.PAGES))
    for stale in {path for pattern in ours for path in out.glob(pattern)} - files.keys():
        stale.unlink()
    return list(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=Path("results/records"), help="folder of records")
    parser.add_argument("--bench", type=Path, default=Path("results/bench"), help="folder of make bench's files")
    parser.add_argument("--parameters", type=Path, default=Path("results/parameters"), help="of make parameters")
    parser.add_argument("--paper", type=Path, default=Path("results/paper"), help="folder of the paper's numbers")
    parser.add_argument("--out", type=Path, default=Path("results/tables"), help="the index goes to its parent folder")
    parser.add_argument("--configs", type=Path, default=Path("configs"), help="whose recipes get a command")
    options = parser.parse_args(arguments)
    try:
        written = build(**vars(options))
    except UserError as error:
        print(f"tables: {error}", file=sys.stderr)
        return 2
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

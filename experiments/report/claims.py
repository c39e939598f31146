"""The paper's claims and what the records say of each: one function per claim; those on quality are in quality.py."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from experiments.measure.bench import LORA, OURS, PEFT, Bench
from experiments.measure.sizes import Sizes
from experiments.paper.printed import LORA_NAMES, PaperRow, Share
from experiments.paper.score_tables import SCORE_TABLES
from experiments.report.aggregate import Row
from experiments.report.quality import marks, pairs, quality
from experiments.report.render import DASH, Table
from experiments.report.sizes import products, shares_of_lora
from experiments.report.speed import GIB, MIB
from experiments.report.verdicts import Claim, Outcome, by_scale


def claims(
    rows: Sequence[Row],
    paper: Mapping[str, Sequence[PaperRow]],
    benches: Sequence[Bench] = (),
    full: Sequence[Sizes] = (),
    shares: Sequence[Share] = (),
    judged: Sequence[Row] = (),
    ranked: Sequence[Row] = (),
) -> list[Claim]:
    """All claims. paper: the printed rows by table key. full: the counts at full size. shares: the shares of LoRA's
    parameters that the paper states. judged: the rows of runs with graded answers. ranked: the rows used for ranks,
    `rows` by default."""
    return [
        parameters(rows, full, shares),
        *(
            quality(table, [*rows, *judged] if table.judged else rows, paper[table.key])
            for table in SCORE_TABLES
            if table.claim
        ),
        rank(ranked or rows),
        memory(benches),
        speed(benches),
    ]


def parameters(rows: Sequence[Row], full: Sequence[Sizes] = (), shares: Sequence[Share] = ()) -> Claim:
    """An adapter has exactly n parameters per adapted matrix (section 3.2, Table 1). This is arithmetic: a count at
    full size is as good as a run. Runs with an n by module (`n_pattern`) are beyond the claim.

    The shares of LoRA's parameters are reported, not judged: the paper computes them from rounded counts.
    """
    lines, outcomes = [], []
    for line, holds in products(full):
        lines.append([*line, DASH])
        outcomes.append(Outcome(line[0], line[1], holds))
    runs: Counter[tuple[str, ...]] = Counter()
    ours = (run for row in rows if row.method == "fourierft" for run in row.runs if run.rank)
    for run in (run for run in ours if not run.configured("method.n_pattern")):
        n, matrices, adapter = run.config["method"]["n"], run.rank.summary.count, run.params.adapter
        exact = adapter == n * matrices
        outcomes.append(Outcome(run.scale, run.model.name, exact))
        trained = f"{adapter:,} at n={n:,}" + ("" if exact else f", which is not {n:,} × {matrices}")
        runs[run.scale, run.model.name, str(matrices), trained] += 1
    lines = by_scale([*lines, *([*key, str(runs[key])] for key in sorted(runs))])
    counts = Table("n × matrices, counted", ["Scale", "Model", "Matrices", "Adapter", "Runs"], lines)
    lora = shares_of_lora(full, shares)
    percent = Table("In percent of LoRA's parameters", ["Model", "FourierFT", "LoRA", "Exact", "Printed"], lora)
    return Claim(
        "Parameters",
        "An adapter has n parameters per matrix: n × L without the head (Table 1).",
        tuple(table for table in (counts, percent) if table.rows),
        tuple(outcomes),
        ("table1_parameters", "parameters"),
        counted="runs",
    )


def rank(rows: Sequence[Row]) -> Claim:
    """The median numerical rank of delta_W, FourierFT against LoRA on the same experiment."""
    lines, outcomes = [], []
    for row, other in pairs(rows, LORA_NAMES):
        for exp in sorted(row.cells.keys() & other.cells.keys()):
            cells = row.cells[exp], other.cells[exp]
            ranks = [[run.rank.summary.numerical_rank.median for run in cell.runs if run.rank] for cell in cells]
            if not all(ranks):
                continue
            ours, theirs = map(statistics.median, ranks)
            seeds = min(map(len, ranks))
            lines.append([row.scale, row.model, exp, row.label, f"{ours:g}", other.label, f"{theirs:g}", str(seeds)])
            evidence = row.scale == "small" or (row.in_paper and other.in_paper and not marks(cells))
            size = f"{row.label}, {exp}"
            outcomes.append(Outcome(row.scale, row.model, ours > theirs, seeds, size, evidence))
    header = ["Scale", "Model", "Experiment", "FourierFT", "Its rank", "LoRA", "Its rank", "Seeds"]
    return Claim(
        "Rank",
        "The rank of FourierFT's ΔW is clearly higher than LoRA's r (reported about the paper, on RTE).",
        (Table("Numerical rank of ΔW, median over its matrices and seeds", header, by_scale(lines)),) if lines else (),
        tuple(outcomes),
        ("study_rank",),
    )


def memory(benches: Sequence[Bench]) -> Claim:
    """Judged by the peak of a training step of RoBERTa-large; bytes saved for the backward pass are reported only."""
    lines, outcomes = [], []
    for bench in benches:
        saved, peak = ([measure(name) for name in (OURS, LORA)] for measure in (bench.saved, bench.peak))
        if None not in saved or all(peak):
            cells = [*_in(saved, MIB, "MiB", 1), *_in(peak, GIB, "GiB", 2)]
            lines.append([bench.title, bench.machine, *cells])
        if all(peak) and bench.case == "roberta_large":
            outcomes.append(Outcome("paper", bench.machine, peak[0] < peak[1], evidence=bench.dirty is False))
        if None not in saved and bench.set == "small":
            outcomes.append(Outcome("small", bench.case, saved[0] < saved[1]))
    header = ["Case", "Machine", "Saved for backward, FourierFT", "LoRA", "Peak, FourierFT", "LoRA"]
    return Claim(
        "Memory",
        "FourierFT's peak GPU memory is below LoRA's (official repository, RoBERTa-large on GLUE).",
        (Table("A training step", header, lines),) if lines else (),
        tuple(outcomes),
        ("bench",),
        counted="cases (bytes saved for the backward pass)",
    )


def speed(benches: Sequence[Bench]) -> Claim:
    """Judged by a training step of LLaMA-7B with this library's layer; PEFT's layer is reported only. A machine that
    was too busy measures nothing."""
    lines, outcomes = [], []
    for bench in benches:
        ours, theirs = bench.ratio(OURS, LORA), bench.ratio(PEFT, LORA)
        if ours and theirs:
            lines.append([bench.title, bench.machine, f"{ours.median:.2f}", f"{theirs.median:.2f}"])
            if bench.steady and bench.case == "llama_7b":
                outcomes.append(Outcome("paper", bench.machine, ours.median > 1, evidence=bench.dirty is False))
            if bench.steady and bench.set == "small":  # slower beyond the noise
                outcomes.append(Outcome("small", bench.case, ours.low > 1))
    header = ["Case", "Machine", "FourierFT", "PEFT's FourierFT"]
    return Claim(
        "Speed",
        "FourierFT trains slower than LoRA: Alpaca in 2 h 47 against 1 h 42 (the authors, LLaMA-2-7B).",
        (Table("A training step in units of LoRA's time", header, lines),) if lines else (),
        tuple(outcomes),
        ("bench",),
        counted="cases (time of a step, lower quartile)",
    )


def _in(values: Sequence[int | None], unit: int, name: str, digits: int) -> list[str]:
    """The values in a larger unit; dashes unless all were measured."""
    return [DASH if None in values else f"{value / unit:.{digits}f} {name}" for value in values]

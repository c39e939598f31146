"""The paper's claims and what the records say of each: one small function a claim; those on quality stand apart."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from experiments.measure.bench import LORA, OURS, Bench
from experiments.report.aggregate import Row
from experiments.report.paper import LORA_NAMES, PaperRow, Share
from experiments.report.quality import pairs, quality, quality_of_answers, quality_of_texts, quality_on_images
from experiments.report.render import DASH, Table
from experiments.report.score_tables import TABLE2, TABLE3, TABLE4, TABLE5
from experiments.report.sizes import Sizes, products, shares_of_lora
from experiments.report.speed import GIB, MIB
from experiments.report.verdicts import Claim, Outcome, by_scale, smaller, verdict


def claims(
    rows: Sequence[Row],
    paper: Mapping[str, Sequence[PaperRow]],
    benches: Sequence[Bench] = (),
    full: Sequence[Sizes] = (),
    shares: Sequence[Share] = (),
    judged: Sequence[Row] = (),
    ranked: Sequence[Row] = (),
) -> list[Claim]:
    """Every claim. `paper`: the printed rows by the tables' keys. `full`: the counts at full size; `shares`: those of
    LoRA's parameters that the paper claims. `judged`: the rows of runs whose answers were graded; `ranked`: those
    that tell of ranks, `rows` unless given."""
    return [
        parameters(rows, full, shares),
        quality(rows, paper[TABLE2.key]),
        quality_of_texts(rows, paper[TABLE3.key]),
        quality_of_answers(rows, judged, paper[TABLE4.key]),
        quality_on_images(rows, paper[TABLE5.key]),
        rank(ranked or rows),
        memory(benches),
        speed(benches),
    ]


def parameters(rows: Sequence[Row], full: Sequence[Sizes] = (), shares: Sequence[Share] = ()) -> Claim:
    """An adapter counts exactly n times the adapted matrices (section 3.2, Table 1): arithmetic, so what is counted at
    full size judges it as a run does.

    The shares of LoRA's parameters are told, not judged: the paper takes them of counts that it prints rounded.
    """
    counted, small = products(full), []
    runs: Counter[tuple[str, ...]] = Counter()
    holds = [held for _, held in counted]
    for run in (run for row in rows if row.method == "fourierft" for run in row.runs if run.rank):
        n, matrices, adapter = run.config["method"]["n"], run.rank.summary.count, run.params.adapter
        exact = adapter == n * matrices
        holds += [exact] if run.scale == "paper" else []
        small += [exact] if run.scale == "small" else []
        trained = f"{adapter:,} at n={n:,}" + ("" if exact else f", which is not {n:,} × {matrices}")
        runs[run.scale, run.model.name, str(matrices), trained] += 1
    lines = by_scale([*([*line, DASH] for line, _ in counted), *([*key, str(runs[key])] for key in sorted(runs))])
    counts = Table("n × matrices, counted", ["Scale", "Model", "Matrices", "Trained, head apart", "Runs"], lines)
    lora = shares_of_lora(full, shares)
    percent = Table("In percent of LoRA's parameters", ["Model", "FourierFT", "LoRA", "Exact", "Printed"], lora)
    return Claim(
        "Parameters",
        "An adapter is n numbers a matrix: n × L trainable parameters, the head apart (Table 1).",
        tuple(table for table in (counts, percent) if table.rows),
        verdict(holds),
        (f"holds ({len(small)} runs)" if all(small) else "does not hold") if small else DASH,
    )


def rank(rows: Sequence[Row]) -> Claim:
    """The median numerical rank of delta_W, FourierFT against LoRA on the same experiment; verdict at paper scale."""
    lines, holds, small = [], [], []
    for row, other in pairs(rows, LORA_NAMES):
        for exp in sorted(row.cells.keys() & other.cells.keys()):
            ours, theirs = _ranks(row, exp), _ranks(other, exp)
            if not ours or not theirs:
                continue
            higher, seeds = statistics.median(ours) > statistics.median(theirs), min(len(ours), len(theirs))
            medians = [f"{statistics.median(ranks):g}" for ranks in (ours, theirs)]
            lines.append([row.scale, row.model, exp, row.label, medians[0], other.label, medians[1], str(seeds)])
            evidence = not (row.cells[exp].marks or other.cells[exp].marks)
            holds += [higher] if row.in_paper and other.in_paper and evidence else []
            small += [Outcome(row.model, higher, seeds, f"{row.label}, {exp}")] if row.scale == "small" else []
    header = ["Scale", "Model", "Experiment", "FourierFT", "Its rank", "LoRA", "Its rank", "Seeds"]
    return Claim(
        "Rank",
        "The rank of FourierFT's ΔW is clearly higher than LoRA's r (reported about the paper, on RTE).",
        (Table("Numerical rank of ΔW, median over its matrices and seeds", header, by_scale(lines)),) if lines else (),
        verdict(holds),
        smaller(small),
    )


def memory(benches: Sequence[Bench]) -> Claim:
    """The peak of a training step of RoBERTa-large; what is saved for the backward pass is told, not judged."""
    lines, holds, leaner = [], [], []
    for bench in benches:
        saved, peak = ([measure(name) for name in (OURS, LORA)] for measure in (bench.saved, bench.peak))
        if None not in saved or all(peak):
            cells = [_in(saved, MIB, "MiB", 1), _in(peak, GIB, "GiB", 2)]
            lines.append([bench.title, bench.machine, *(cell for pair in cells for cell in pair)])
        holds += [peak[0] < peak[1]] if all(peak) and bench.case == "roberta_large" and bench.dirty is False else []
        leaner += [saved[0] < saved[1]] if None not in saved and bench.set == "small" else []
    header = ["Case", "Machine", "Saved for backward, FourierFT", "LoRA", "Peak, FourierFT", "LoRA"]
    return Claim(
        "Memory",
        "FourierFT's peak GPU memory is below LoRA's (official repository, RoBERTa-large on GLUE).",
        (Table("A training step", header, lines),) if lines else (),
        verdict(holds),
        _of_cases(leaner, "bytes saved for the backward pass"),
    )


def speed(benches: Sequence[Bench]) -> Claim:
    """A training step of LLaMA-7B by this library's layer; PEFT's layer is told, not judged."""
    lines, holds, slower = [], [], []
    for bench in benches:
        ours, theirs = bench.ratio(OURS, LORA), bench.ratio("peft_fourierft", LORA)
        if ours and theirs:
            lines.append([bench.title, bench.machine, f"{ours.median:.2f}", f"{theirs.median:.2f}"])
            holds += [ours.median > 1] if bench.case == "llama_7b" and bench.dirty is False else []
            slower += [ours.low > 1] if bench.set == "small" else []  # beyond the noise
    header = ["Case", "Machine", "FourierFT", "PEFT's FourierFT"]
    return Claim(
        "Speed",
        "FourierFT trains slower than LoRA: Alpaca in 2 h 47 against 1 h 42 (the authors, LLaMA-2-7B).",
        (Table("A training step in units of LoRA's time", header, lines),) if lines else (),
        verdict(holds),
        _of_cases(slower, "time of a step, lower quartile"),
    )


def _ranks(row: Row, exp: str) -> list[float]:
    """The median rank of each run."""
    return [run.rank.summary.numerical_rank.median for run in row.cells[exp].runs if run.rank]


def _in(values: Sequence[int | None], unit: int, name: str, digits: int) -> list[str]:
    """Bytes in a larger unit, or dashes unless all are there."""
    return [DASH if None in values else f"{value / unit:.{digits}f} {name}" for value in values]


def _of_cases(holds: Sequence[bool], what: str) -> str:
    """What the small cases of `make bench` say, which are on a CPU: rounds stand behind each, not seeds."""
    return f"holds in {sum(holds)} of {len(holds)} cases ({what})" if holds else DASH

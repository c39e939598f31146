"""The paper's claims, what the records say of each, and the verdict: one small function a claim."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.analysis.aggregate import Row
from experiments.analysis.paper import LORA_NAMES, PaperRow, Share, beside
from experiments.analysis.render import signed
from experiments.analysis.score_tables import HELD_OUT, TABLE2, TABLE3, TABLE4, TABLE5, ScoreTable
from experiments.analysis.sizes import Sizes, products, shares_of_lora
from experiments.analysis.speed import GIB, LORA, MIB, OURS, Bench

REPRODUCED, NOT_REPRODUCED, NOT_MEASURED = "reproduced", "not reproduced", "not yet measured"
ROUNDING = 1e-9  # of a difference of two floats


@dataclass(frozen=True)
class Claim:
    """A claim of the paper beside what was measured, one line a measurement."""

    name: str
    statement: str
    measured: tuple[str, ...] = ()
    verdict: str = NOT_MEASURED
    smaller: str = "—"  # what the small scale says


def claims(
    rows: Sequence[Row],
    paper: Mapping[str, Sequence[PaperRow]],
    benches: Sequence[Bench] = (),
    full: Sequence[Sizes] = (),
    shares: Sequence[Share] = (),
    judged: Sequence[Row] = (),
) -> list[Claim]:
    """Every claim. `paper`: the printed rows by the tables' keys. `full`: the counts at full size; `shares`: those of
    LoRA's parameters that the paper claims. `judged`: the rows of runs whose answers were graded."""
    return [
        parameters(rows, full, shares),
        quality(rows, paper[TABLE2.key]),
        quality_of_texts(rows, paper[TABLE3.key]),
        quality_of_answers(rows, judged, paper[TABLE4.key]),
        quality_on_images(rows, paper[TABLE5.key]),
        rank(rows),
        memory(benches),
        speed(benches),
    ]


def parameters(rows: Sequence[Row], full: Sequence[Sizes] = (), shares: Sequence[Share] = ()) -> Claim:
    """An adapter counts exactly n times the adapted matrices (section 3.2, Table 1): arithmetic, so at any scale.

    The shares of LoRA's parameters are told, not judged: the paper takes them of counts that it prints rounded.
    """
    counted = products(full)
    lines: Counter[str] = Counter()
    holds = [held for _, held in counted]
    for run in (run for row in rows if row.method == "fourierft" for run in row.runs if run.rank):
        n, matrices, adapter = run.config["method"]["n"], run.rank.summary.count, run.params.adapter
        holds.append(adapter == n * matrices)
        sign = "=" if holds[-1] else "≠"
        lines[f"{run.scale}, {run.model.name}: {adapter:,} {sign} {n:,} × {matrices} matrices"] += 1
    return Claim(
        "Parameters",
        "An adapter is n numbers a matrix: n × L trainable parameters, the head apart (Table 1).",
        (
            *(f"{line}; runs: {count}" for line, count in sorted(lines.items())),
            *(line for line, _ in counted),
            *shares_of_lora(full, shares),
        ),
        verdict(holds),
    )


def quality(rows: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """Table 2: FourierFT against LoRA and head-only."""
    measured, verdict = _against_lora(TABLE2, rows, paper)
    return Claim(
        "Quality",
        "FourierFT matches LoRA on GLUE with 6 % of its parameters: on average 85.0 against 85.2 on RoBERTa-base and "
        "88.0 against 87.8 on RoBERTa-large (Table 2).",
        measured,
        verdict,
    )


def quality_of_texts(rows: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """Table 3: FourierFT against LoRA, metric by metric."""
    measured, verdict = _against_lora(TABLE3, rows, paper)
    return Claim(
        "Quality of generated text",
        "On E2E NLG FourierFT is level with LoRA or above it in BLEU, NIST, METEOR, ROUGE-L and CIDEr with 13.7 % and "
        "9.4 % of its parameters: BLEU 69.1 against 68.9 on GPT-2 Medium and 70.2 against 70.1 on GPT-2 Large "
        "(Table 3).",
        measured,
        verdict,
    )


def quality_of_answers(rows: Sequence[Row], judged: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """Table 4: FourierFT against LoRA by the judges of the paper's kind; one that refutes is enough. What other judges
    say, and held-out losses, is told alone.
    """
    measured, verdicts = list(_against_lora(HELD_OUT, rows, ())[0]), []
    for judge in sorted({row.judge for row in judged}):
        lines, verdict = _against_lora(TABLE4, [row for row in judged if row.judge == judge], paper)
        measured += [f"{line}; judge: {judge}" for line in lines]
        verdicts += [verdict] if judge.startswith("gpt-4") else []
    return Claim(
        "Quality of answers",
        "After instruction tuning FourierFT reaches LoRA's scores with 0.064M parameters against 33.5M: on LLaMA2-7B "
        "MT-Bench 5.18 against 5.20 and Vicuna 7.49 against 7.35, judged by GPT-4; every difference between the two is "
        "within one printed deviation (Table 4).",
        tuple(measured),
        next((verdict for verdict in (NOT_REPRODUCED, REPRODUCED) if verdict in verdicts), NOT_MEASURED),
    )


def quality_on_images(rows: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """Table 5: FourierFT in two sizes against LoRA and head-only; the larger must be above LoRA."""
    measured, verdict = _against_lora(TABLE5, rows, paper, above=({"n": 10_000},))
    return Claim(
        "Quality on images",
        "On eight image sets FourierFT with n=3000 matches LoRA with 12.4 % and 9.2 % of its parameters: on average "
        "77.75 against 77.58 on ViT-base and 83.71 against 84.94 on ViT-large (1.23 below, and called a match); with "
        "n=10000 it outperforms LoRA: 80.29 and 86.68 (Table 5).",
        measured,
        verdict,
    )


def _against_lora(
    table: ScoreTable, rows: Sequence[Row], paper: Sequence[PaperRow], above: Sequence[dict[str, int]] = ()
) -> tuple[tuple[str, ...], str]:
    """What was measured of FourierFT against LoRA and head-only, column by column, and the verdict on LoRA.

    The verdict needs every FourierFT row of the paper's table beside its LoRA, in all columns, with its seeds at a
    clean commit. The average, or each column of a table that has none, may then fall below LoRA's by the mean of the
    paper's standard deviations, no more; that of the settings in `above` must be higher than LoRA's.
    """
    measured, holds, selection = [], {}, table.selection
    judged = [table.columns] if table.averaged else [(column,) for column in table.columns]
    for row, other in _pairs(rows, (*LORA_NAMES, "head_only")):
        pairs = {column: (row.cell(column), other.cell(column)) for column in table.columns_at(row.scale)}
        pairs = {column: pair for column, pair in pairs.items() if all(cell and cell.runs for cell in pair)}
        if not pairs:
            continue
        gaps = {
            column: ours.centre(selection, column) - theirs.centre(selection, column)
            for column, (ours, theirs) in pairs.items()
        }
        said = {
            (column,): f"{column.heading} {signed(gap, column.digits)}" + (" (less is better)" if column.loss else "")
            for column, gap in gaps.items()
        }
        printed = [beside(row, paper), beside(other, paper)]
        for columns in judged:
            if not gaps.keys() >= set(columns):
                continue
            gap, digits = statistics.mean(gaps[column] for column in columns), columns[0].digits
            if table.averaged:
                said[columns] = f"average {signed(gap, digits)}"
            marked = any(cell.marks for column in columns for cell in pairs[column])
            if other.method in LORA_NAMES and None not in printed and not marked:
                margin = statistics.mean(
                    one.std[column.key] for one in printed for column in columns if column.key in one.std
                )
                higher = printed[0].settings in above
                key = (row.model, printed[0].title, columns)
                holds[key] = holds.get(key, True) and (gap > 0 if higher else gap >= -margin - ROUNDING)
                said[columns] += " (must be above)" if higher else f" (margin {margin:.{digits + 1}f})"
        seeds, line = min(len(cell.runs) for pair in pairs.values() for cell in pair), ", ".join(said.values())
        measured.append(f"{row.scale}, {row.model}, {row.title} minus {other.title}: {line}; seeds: {seeds} or more")
    lines = [line for line in paper if line.method == "fourierft"]
    needed = {(line.model, line.title, columns) for line in lines for columns in judged}
    return tuple(measured), verdict(holds.values(), whole=holds.keys() >= needed)


def rank(rows: Sequence[Row]) -> Claim:
    """The median numerical rank of delta_W, FourierFT against LoRA on the same experiment; verdict at paper scale."""
    measured, holds = [], []
    for row, other in _pairs(rows, LORA_NAMES):
        for exp in sorted(row.cells.keys() & other.cells.keys()):
            ours, theirs = _median_rank(row, exp), _median_rank(other, exp)
            if ours is None or theirs is None:
                continue
            measured.append(f"{row.scale}, {row.model}, {exp}: {row.title} {ours:g}, {other.title} {theirs:g}")
            if row.scale == "paper":
                holds.append(ours > theirs)
    return Claim(
        "Rank",
        "The rank of FourierFT's ΔW is clearly higher than LoRA's r (reported about the paper, on RTE).",
        tuple(measured),
        verdict(holds),
    )


def memory(benches: Sequence[Bench]) -> Claim:
    """The peak of a training step of RoBERTa-large; what is saved for the backward pass is told, not judged."""
    measured, holds = [], []
    for bench in benches:
        ours, lora = bench.saved(OURS), bench.saved(LORA)
        our_peak, lora_peak = bench.peak(OURS), bench.peak(LORA)
        if ours is not None and lora is not None:
            saved = f"{ours / MIB:.1f} MiB, LoRA {lora / MIB:.1f} MiB"
            measured.append(f"{bench.title}, {bench.machine}: saved for the backward pass FourierFT {saved}")
        if our_peak and lora_peak:
            peak = f"{our_peak / GIB:.2f} GiB, LoRA {lora_peak / GIB:.2f} GiB"
            measured.append(f"{bench.title}, {bench.machine}: peak FourierFT {peak}")
            holds += [our_peak < lora_peak] if bench.case == "roberta_large" else []
    return Claim(
        "Memory",
        "FourierFT's peak GPU memory is below LoRA's (official repository, RoBERTa-large on GLUE).",
        tuple(measured),
        verdict(holds),
    )


def speed(benches: Sequence[Bench]) -> Claim:
    """A training step of LLaMA-7B by this library's layer; PEFT's layer is told, not judged."""
    measured, holds = [], []
    for bench in benches:
        ours, theirs = bench.ratio(OURS, LORA), bench.ratio("peft_fourierft", LORA)
        if ours and theirs:
            times = f"{ours.median:.2f} times LoRA's time, with PEFT's own layer {theirs.median:.2f}"
            measured.append(f"{bench.title}, {bench.machine}: {times}")
            holds += [ours.median > 1] if bench.case == "llama_7b" else []
    return Claim(
        "Speed",
        "FourierFT trains slower than LoRA: Alpaca in 2 h 47 against 1 h 42 (the authors, LLaMA-2-7B).",
        tuple(measured),
        verdict(holds),
    )


def verdict(holds: Iterable[bool], whole: bool = True) -> str:
    """One failure is enough to refute; `whole` says whether everything that could refute was measured."""
    outcomes = list(holds)
    if not all(outcomes):
        return NOT_REPRODUCED
    return REPRODUCED if outcomes and whole else NOT_MEASURED


def _pairs(rows: Sequence[Row], methods: Sequence[str]) -> Iterator[tuple[Row, Row]]:
    """Every FourierFT row with every row of `methods` on the same model at the same scale."""
    for row in rows:
        for other in rows:
            if (
                row.method == "fourierft"
                and other.method in methods
                and (row.scale, row.model) == (other.scale, other.model)
            ):
                yield row, other


def _median_rank(row: Row, exp: str) -> float | None:
    ranks = [run.rank.summary.numerical_rank.median for run in row.cells[exp].runs if run.rank]
    return statistics.median(ranks) if ranks else None

"""The paper's claims, what the records say of each, and the verdict: one small function a claim."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from experiments.analysis.aggregate import Row
from experiments.analysis.paper import PaperRow, Share, beside
from experiments.analysis.sizes import Sizes, products, shares_of_lora
from experiments.analysis.speed import GIB, LORA, MIB, OURS, Bench

REPRODUCED, NOT_REPRODUCED, NOT_MEASURED = "reproduced", "not reproduced", "not yet measured"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper beside what was measured, one line a measurement."""

    name: str
    statement: str
    measured: tuple[str, ...] = ()
    verdict: str = NOT_MEASURED


def claims(
    rows: Sequence[Row],
    paper: Sequence[PaperRow],
    tasks: dict[str, str],
    benches: Sequence[Bench] = (),
    full: Sequence[Sizes] = (),
    shares: Sequence[Share] = (),
) -> list[Claim]:
    """Every claim. `paper` is Table 2; `tasks` maps its experiments to the names of its columns. `full`: the counts at
    full size; `shares`: those of LoRA's parameters that the paper claims."""
    return [
        parameters(rows, full, shares),
        quality(rows, paper, tasks),
        rank(rows),
        memory(benches),
        speed(benches),
        Claim("Scaling with n", "More coefficients help consistently, more LoRA rank does not (Figure 4)."),
        Claim("Frequency bias", "Unbiased positions beat most band-pass biases (Figure 5)."),
        Claim("Basis", "The Fourier basis beats a random and an orthogonal one (Table 6)."),
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
        _verdict(holds),
    )


def quality(rows: Sequence[Row], paper: Sequence[PaperRow], tasks: dict[str, str]) -> Claim:
    """FourierFT against LoRA and head-only, column by column.

    The verdict needs, on every model of the paper, all six columns of its FourierFT and LoRA, with its five seeds at a
    clean commit. The average may then fall below LoRA's by the mean of the paper's standard deviations, no more.
    """
    measured, holds = [], {}
    for row, other in _pairs(rows, ("lora", "head_only")):
        shared = [exp for exp in tasks if all(exp in one.cells and one.cells[exp].runs for one in (row, other))]
        if not shared:
            continue
        gaps = [row.cells[exp].median() - other.cells[exp].median() for exp in shared]
        cells = [one.cells[exp] for exp in shared for one in (row, other)]
        line = ", ".join(f"{tasks[exp]} {signed(gap)}" for exp, gap in zip(shared, gaps, strict=True))
        if len(shared) == len(tasks):
            line += f", average {signed(statistics.mean(gaps))}"
        printed = [beside(row, paper), beside(other, paper)]
        if (
            len(shared) == len(tasks)
            and None not in printed
            and all(cell.complete and not cell.dirty for cell in cells)
        ):
            margin = statistics.mean(spread for one in printed for spread in one.std.values())
            holds[row.model] = holds.get(row.model, True) and statistics.mean(gaps) >= -margin
            line += f" (margin {margin:.2f})"
        seeds = min(len(cell.runs) for cell in cells)
        measured.append(f"{row.scale}, {row.model}, {title(row)} minus {title(other)}: {line}; seeds: {seeds} or more")
    both = {printed.model for printed in paper if printed.method == "fourierft"}
    return Claim(
        "Quality",
        "FourierFT matches LoRA on GLUE with 6 % of its parameters: on average 85.0 against 85.2 on RoBERTa-base and "
        "88.0 against 87.8 on RoBERTa-large (Table 2).",
        tuple(measured),
        _verdict(holds.values(), whole=holds.keys() >= both),
    )


def rank(rows: Sequence[Row]) -> Claim:
    """The median numerical rank of delta_W, FourierFT against LoRA on the same experiment; verdict at paper scale."""
    measured, holds = [], []
    for row, other in _pairs(rows, ("lora",)):
        for exp in sorted(row.cells.keys() & other.cells.keys()):
            ours, theirs = _median_rank(row, exp), _median_rank(other, exp)
            if ours is None or theirs is None:
                continue
            measured.append(f"{row.scale}, {row.model}, {exp}: {title(row)} {ours:g}, {title(other)} {theirs:g}")
            if row.scale == "paper":
                holds.append(ours > theirs)
    return Claim(
        "Rank",
        "The rank of FourierFT's ΔW is clearly higher than LoRA's r (reported about the paper, on RTE).",
        tuple(measured),
        _verdict(holds),
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
        _verdict(holds),
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
        _verdict(holds),
    )


def signed(value: float) -> str:
    """One decimal with its sign; never -0.0."""
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")


def title(row: Row) -> str:
    """A row's method, with the settings that name it."""
    return f"{row.method} ({row.label})" if row.label else row.method


def _verdict(holds: Iterable[bool], whole: bool = True) -> str:
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

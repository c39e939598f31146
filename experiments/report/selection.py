"""What choosing the best epoch buys: the best epoch minus the last, on the set that chose it and on the test set.

The paper reports the best epoch on the validation set that chose it, so its scores include the luck of that choice. The
unbiased estimate is the same difference on a test set. The standard error of a score on that many examples tells how
large a difference must be to mean anything.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.paper.printed import Logs
from experiments.paper.score_tables import TABLE2
from experiments.record import Record
from experiments.report.aggregate import Row
from experiments.report.page import Page
from experiments.report.render import DASH, Table, number, signed
from experiments.report.verdicts import by_scale

HEADER = ["Scale", "Model", "Experiment", "Method", "Runs", "Validation", "Std. error", "Test", "Std. error"]
TITLE = "Best epoch against last epoch"
NOTES = (
    "Validation, test: the primary metric × 100 at the epoch that is best on validation, minus that at the last epoch; "
    "the median over the runs of more than one epoch.",
    "Std. error: of one score on a set of that size; of an accuracy √(p (1 − p) / examples), of a "
    f"Pearson correlation (1 − r²) / √(examples − 1). {DASH}: no such formula, or no test set.",
)


@dataclass(frozen=True)
class Gain:
    """Best epoch minus last epoch of one run on one set, times 100. error: the standard error of one score there."""

    points: float
    error: float | None


def standard_error(metric: str, score: float, examples: int) -> float | None:
    """The standard error of a score (a fraction) on this many examples; None for a metric without a simple formula.

    An accuracy is a mean of independent outcomes; Pearson's correlation has the error of two normal variables.
    """
    if metric == "accuracy":
        return math.sqrt(score * (1 - score) / examples)
    return (1 - score**2) / math.sqrt(examples - 1) if metric == "pearson" else None


def gain(run: Record, split: Literal["validation", "test"]) -> Gain | None:
    """The gain on the validation set, which chose the epoch, or on the test set; None where the task has none."""
    name, scores = run.metrics.primary, run.metrics.all if split == "validation" else run.metrics.test
    if scores is None:
        return None
    best, last, examples = scores.best[name], scores.last[name], run.dataset.rows.get(split, 0)
    error = standard_error(name, best, examples) if examples > 1 else None
    return Gain(100 * (best - last if run.metrics.direction == "max" else last - best), error and 100 * error)


def page(rows: Iterable[Row], logs: Sequence[Logs]) -> Page:
    """The whole page."""
    return Page("selection", f"{TITLE}, method by method", [of_logs(logs), by_method(rows)], NOTES)


def by_method(rows: Iterable[Row]) -> Table:
    """Every experiment, method by method."""
    lines = _lines(rows, lambda row: row.title)
    return Table("The best epoch minus the last, method by method", HEADER, lines)


def by_experiment(rows: Iterable[Row]) -> Table:
    """Every experiment, all methods pooled, without scale mini."""
    lines = _lines((row for row in rows if row.scale != "mini"), lambda row: "")
    without = [[*line[:3], *line[4:]] for line in (HEADER, *lines)]
    return Table("The best epoch minus the last, our runs", without[0], without[1:])


def _lines(rows: Iterable[Row], name: Callable[[Row], str]) -> list[list[str]]:
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for row in rows:
        for exp, cell in row.cells.items():
            several = [run for run in cell.runs if len(run.metrics.per_epoch) != 1]
            if several:
                groups.setdefault((row.scale, row.model, exp, name(row)), []).extend(several)
    return by_scale(
        [*group, str(len(runs)), *_cells(runs, "validation"), *_cells(runs, "test")]
        for group, runs in sorted(groups.items())
    )


def _cells(runs: Iterable[Record], split: Literal["validation", "test"]) -> list[str]:
    """The median gain, and the median standard error."""
    found = [one for run in runs if (one := gain(run, split))]
    errors = [one.error for one in found if one.error is not None]
    return [
        signed(statistics.median(one.points for one in found)) if found else DASH,
        number(statistics.median(errors)) if errors else DASH,
    ]


def of_logs(logs: Sequence[Logs]) -> Table:
    """The official logs, whose last epoch is the last one logged."""
    lines = []
    for one in logs:
        error = standard_error(one.metric, one.best / 100, one.examples)
        scores = [number(one.best, 2), number(one.last, 2), signed(one.best - one.last, 2)]
        noise = [f"{one.examples:,}", number(error and 100 * error, 2)]
        lines.append([one.model, TABLE2.headings[one.task], *scores, *noise])
    header = ["Model", "Task", "Best", "Last logged", "Best − last", "Examples", "Std. error"]
    return Table("The best epoch minus the last, official logs", header, lines)


def in_words(logs: Sequence[Logs], rows: Iterable[Row]) -> str:
    """Both tables in two sentences; of our runs, only those with a test set and more than one epoch."""
    gaps = {f"{TABLE2.headings[one.task]} on {one.model}": one.best - one.last for one in logs}
    widest = max(gaps, key=gaps.get)
    said = (
        f"In the official logs the best epoch stands {number(statistics.median(gaps.values()))} points above the last "
        f"one logged (median of {len(gaps)}; {number(gaps[widest])} for {widest}), whose rate had not decayed."
    )
    runs = [run for row in rows if row.scale != "mini" for run in row.runs if len(run.metrics.per_epoch) != 1]
    both = [(gain(run, "validation").points, test.points) for run in runs if (test := gain(run, "test"))]
    if not both:
        return said
    chosen, fresh = (signed(statistics.median(gains)) for gains in zip(*both, strict=True))
    return (
        f"{said} In our {len(both)} runs with a test set it gains {chosen} points on the validation set that chose it, "
        f"and {fresh} on the test set (medians): the difference is the luck of the choice."
    )

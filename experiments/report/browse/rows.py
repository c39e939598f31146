"""What the page knows of each run and of each row that the paper prints, small enough for hundreds of them."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from experiments.paper.printed import PaperRow
from experiments.paper.score_tables import PRIMARY, SCORE_TABLES, Column, ScoreTable, leading_column, table_of
from experiments.record import Record
from experiments.report.aggregate import identity, is_trial, rows
from experiments.report.render import with_spread

MIB = 2**20
EPOCHS = 20  # of a curve, at most, beside its best and its last
JUDGED = next(table for table in SCORE_TABLES if table.judged)


def content(
    folders: Mapping[Path, Sequence[Record]], paper: Mapping[str, Sequence[PaperRow]], printed: Path, place: Path
) -> dict[str, Any]:
    """fields: their names. rows: their values, a list each; None where there is none. parts: the pool's values.

    The arguments are those of `render`.
    """
    pool = Pool()
    found = [*_paper_rows(paper, _link(printed, place)), *_runs(folders, place, pool)]
    fields = list(dict.fromkeys(key for row in found for key in row))
    return {"fields": fields, "rows": [[row.get(key) for key in fields] for row in found], "parts": pool.values}


def compact(value: Any) -> str:
    """A value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Pool:
    """Values that many rows share, each once; a row has its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, value: Any) -> int:
        """The number of a value."""
        return self.numbers.setdefault(compact(value), len(self.numbers))

    @property
    def values(self) -> list[Any]:
        """The values in the order of their numbers."""
        return [json.loads(text) for text in self.numbers]


def _link(path: Path, place: Path) -> str:
    """The address of a file from the folder `place`."""
    return quote(Path(os.path.relpath(path, place)).as_posix())


def _round(value: float | None, digits: int = 4) -> float | None:
    """To this many significant digits."""
    return None if value is None else float(f"{value:.{digits}g}")


# --- rows of the paper ----------------------------------------------------------------------------------------------


def _paper_rows(paper: Mapping[str, Sequence[PaperRow]], folder: str) -> Iterator[dict[str, Any]]:
    """One row for each printed row and experiment, with its first score; `printed` has all of them."""
    for table in SCORE_TABLES:
        for line in paper.get(table.key, ()):
            for exp in dict.fromkeys(column.exp for column in table.columns):
                columns = [column for column in table.columns if column.exp == exp and column.key in line.scores]
                if not columns:
                    continue
                first, task = columns[0], _task(exp, table)
                score, metric = ("test", "measure") if table.protocol.on_test else ("score", "metric")
                yield {
                    "id": f"{folder}/{table.key}.yaml?{quote(f'{task} {line.model} {line.title}')}",
                    "by": "paper",
                    "task": task,
                    "model": line.model,
                    "method": line.method,
                    "title": line.title,
                    "scale": "paper",
                    "adapter": int(line.count) or None,
                    score: line.scores[first.key],
                    metric: first.heading if first.metric else None,
                    "note": line.note,
                    "printed": {
                        column.heading: with_spread(
                            line.scores[column.key], line.std.get(column.key), column.digits, column.std_digits
                        )
                        for column in columns
                    },
                }


def _task(exp: str, table: ScoreTable) -> str:
    """The heading of an experiment's only column, or its name; answers that were judged are a task of their own."""
    headings = (column.heading for column in table.columns + table.parts if column.exp == exp and not column.metric)
    return next(headings, exp) + (", judged" if table.judged else "")


# --- our runs -------------------------------------------------------------------------------------------------------


def _runs(folders: Mapping[Path, Sequence[Record]], place: Path, pool: Pool) -> Iterator[dict[str, Any]]:
    """Every run, once if several folders have its record."""
    seen = set()
    for folder, records in folders.items():
        titles = {
            (run.exp, identity(run)): row.title
            for row in rows(records)
            for cell in row.cells.values()
            for run in (*cell.runs, *cell.failures)
        }
        for record in records:
            if (key := (record.place, record.ended)) not in seen:
                seen.add(key)
                title = f"{record.method} (cut short)" if is_trial(record) else titles[record.exp, identity(record)]
                address = _link(folder / record.place, place)
                yield {"id": address, "by": "ours", "title": title, **_about(record), **_details(record, pool)}


def _about(run: Record) -> dict[str, Any]:
    """What stands in a row of any run, in the units in which it is shown."""
    cost, params = run.cost, run.params
    return {
        "task": _task(run.exp, JUDGED if run.judge else table_of(run.exp)),
        "model": run.model.name,
        "method": run.method,
        "scale": run.scale,
        "seed": run.seed,
        "status": None if run.status == "ok" else run.status,
        "error": run.error,
        "adapter": params and params.adapter,
        "head": params and params.head,
        "total": params and params.total,
        **_scores(run),
        "rank": run.rank and run.rank.summary.numerical_rank.median,
        "minutes": cost and _round(cost.train_s / 60),
        "rate": cost and _round(cost.samples_per_s),
        "peak": cost and run.hardware.gpu and cost.peak_memory_bytes and _round(cost.peak_memory_bytes / MIB),
        "saved": cost and cost.saved_bytes and _round(cost.saved_bytes / MIB),
        "device": run.hardware.gpu or run.hardware.cpu,
        "date": run.ended[:16].replace("T", " "),
        "commit": (run.commit or "")[:8] + "‡" * (run.dirty is not False),
        "trials": run.trials,
        "judge": run.judge and run.judge.label,
    }


def _scores(run: Record) -> dict[str, Any]:
    """The validation score of the best epoch, and the test score that the run's table shows, in the table's units.

    falls: those of the two of which less is better.
    """
    metrics = run.metrics
    if metrics is None:
        return {}
    table = JUDGED if run.judge else table_of(run.exp)
    tested = metrics.test and getattr(metrics.test, table.selection)
    column = _column(run, table, tested or {})
    own = column if column.metric in (None, metrics.primary) else PRIMARY
    down = metrics.direction == "min"
    return {
        "metric": "loss" if own.loss else metrics.primary,
        "score": _round(own.value(metrics.best), 5),
        "epoch": metrics.best_epoch,
        "last": _round(own.value(metrics.last), 5),
        "measure": tested and (column.heading if column.metric else metrics.primary),
        "test": tested and _round(column.value(tested[column.metric or metrics.primary]), 5),
        "falls": [key for key, falls in (("score", own.loss or down), ("test", column.loss or down)) if falls] or None,
    }


def _column(run: Record, table: ScoreTable, tested: Mapping[str, float]) -> Column:
    """The column that represents the run: the first of its table whose metric it has, or the primary metric."""
    column = leading_column(run.exp)
    if table.judged:
        column = next((one for one in table.columns if one.exp == run.exp and one.metric in tested), PRIMARY)
    return column if column.metric in (None, run.metrics.primary, *tested) else PRIMARY


def _details(run: Record, pool: Pool) -> dict[str, Any]:
    """What the panel of a run shows beside its row: numbers of the pool's values, and lists."""
    found: dict[str, Any] = {"config": {key: pool.number(value) for key, value in run.config.items()}}
    if run.metrics:
        found["curves"] = _curves(run)
    if run.metrics and run.metrics.test:
        best, last = run.metrics.test.best, run.metrics.test.last
        found["tests"] = {name: [_round(best[name]), _round(last.get(name))] for name in best if name != "epoch"}
    if run.rank:
        matrices = run.rank.matrices
        found["ranks"] = {
            "names": pool.number([one.name for one in matrices]),
            "numerical": [one.numerical_rank for one in matrices],
            "effective": [_round(one.effective_rank) for one in matrices],
        }
    return found


def _curves(run: Record) -> dict[str, list[float | None]]:
    """Losses and the primary metric by epoch; of a long run every k-th epoch, and its best and last."""
    metrics = run.metrics
    epochs = metrics.per_epoch
    step = math.ceil(len(epochs) / EPOCHS)
    kept = [one for at, one in enumerate(epochs, 1) if at % step == 0 or one in (metrics.all.best, metrics.all.last)]
    names = ("epoch", metrics.primary, "loss", "train_loss")
    return {name: [_round(one[name]) for one in kept] for name in names if name in epochs[0]}

"""The tables of scores at one scale each: their scores, what they cost, the commands."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.paper.printed import PaperRow
from experiments.paper.score_tables import SCORE_TABLES, Column, ScoreTable
from experiments.recipes import CONFIGS
from experiments.record import Selection
from experiments.report import planned
from experiments.report.aggregate import Cell, Row, within
from experiments.report.page import Page
from experiments.report.render import DASH, Table, number, signed, span, with_spread


def pages(
    measured: Sequence[Row],
    judged: Sequence[Row],
    paper: Mapping[str, Sequence[PaperRow]],
    configs: Path,
    logged: Mapping[str, Sequence[PaperRow]],
) -> list[Page]:
    """Every table at every scale that has a record of it; the printed tables at the paper's scale always.

    paper, logged: the rows of the paper and of the official logs, by table key.
    """
    found = []
    for table in SCORE_TABLES:
        for scale in ("mini", "paper", "small"):
            if not table.columns:
                table = table.model_copy(update={"columns": _others(measured)})
            experiments = {column.exp for column in table.columns_at(scale)}
            ours = within([row for row in (judged if table.judged else measured) if row.scale == scale], experiments)
            printed = paper.get(table.key, [])
            if ours or (scale == "paper" and printed):
                found.append(page(table, scale, ours, printed, configs, logged.get(table.key, [])))
    return found


def _others(measured: Iterable[Row]) -> tuple[Column, ...]:
    """A column for each experiment that no table has: its primary metric."""
    known = {column.exp for table in SCORE_TABLES for column in table.columns_at("small")}
    exps = sorted({exp for row in measured for exp in row.cells} - known)
    return tuple(Column(exp=exp, key=exp) for exp in exps)


def page(
    table: ScoreTable,
    scale: str,
    ours: Sequence[Row],
    paper: Sequence[PaperRow],
    configs: Path,
    logged: Sequence[PaperRow] = (),
) -> Page:
    """One table at one scale. ours: its rows, in any order. paper: the printed rows. logged: the rows of the official
    logs."""
    printed, columns = paper if scale == "paper" else [], shown(table, scale, ours)
    blocks, rows = [], []
    for judge in sorted({row.judge for row in ours}) or [""]:
        own = arranged(scale, [row for row in ours if row.judge == judge], paper, configs)
        blocks += [block for block in _blocks(table, own, columns, printed, logged) if block.rows]
        rows += own
    ended = Counter({"ok": sum(len(row.runs) for row in ours)})
    ended.update(failure.status for row in ours for cell in row.cells.values() for failure in cell.failures)
    counts = ", ".join(f"{status} {count}" for status, count in sorted(ended.items()))
    return Page(
        table.key,
        table.title,
        blocks,
        _notes(table, compared=bool(printed) and not table.judged),
        scale,
        index_note=f"{'judged runs' if table.judged else 'runs'}: {counts}",
        appendix=commands(table, scale, {(row.model, row.title): row for row in rows}.values(), configs),
    )


def shown(table: ScoreTable, scale: str, ours: Iterable[Row]) -> list[Column]:
    """The columns at this scale: all, or for a table that is not `whole` those with a record."""
    every, rows = scale == "paper" or table.whole, list(ours)
    return [column for column in table.columns_at(scale) if every or any(row.has(column) for row in rows)]


def _notes(table: ScoreTable, compared: bool) -> list[str]:
    """The legend. compared: whether differences from the paper's numbers are shown."""
    protocol = table.protocol
    statistic = f"the {protocol.centre_name} and the {protocol.spread_name} over k seeds, {table.unit('percent')}"
    signs = " ".join(f"{sign} {meaning}." for sign, meaning in protocol.signs.items())
    notes = [
        f"a ± s ×k: {statistic}. {DASH}: not run.",
        f"{signs} OOM, failed, cancelled: seeds that ended so.",
        "Adapter: parameters trained outside the head (AdaLoRA: initially). Trials: hyper-parameter trials behind "
        "our recipe.",
        *table.notes,
    ]
    difference = "the difference from the paper's number for the same model, method and settings"
    against = f"In brackets: {difference}, {table.unit('points')}."
    return [*notes, against] if compared else notes


# --- the blocks of a table -------------------------------------------------------------------------------------------


def _blocks(
    table: ScoreTable,
    rows: Sequence[Row],
    columns: Sequence[Column],
    printed: Sequence[PaperRow],
    logged: Sequence[PaperRow],
) -> list[Table]:
    """One block per selection of the epoch, then the costs, unless a judge scores. In the first block, at the paper's
    scale, printed rows stand above ours and those of the official logs below."""
    names = [column.heading for column in columns]
    average = table.columns if table.averaged and set(table.columns) <= set(columns) else ()
    header = ["Model", "Method", "By", "Adapter", "Head", *names, *(["Avg"] if average else []), "Trials"]
    ran = [row for row in rows if row.cells]

    def block(selection: Selection, rows: Sequence[Row], printed: Sequence[PaperRow] = ()) -> Table:
        left, lines = list(printed), []
        for row in rows:
            above = [line for line in left if row.is_of(line)]
            left = [line for line in left if line not in above]
            lines += [_paper_line(line, columns, average) for line in above]
            lines.append(_our_line(row, columns, average, selection, None if table.judged else row.printed(printed)))
            below = [line for line in logged if above and row.is_of(line)]
            lines += [_paper_line(line, columns, average, "official logs") for line in below]
        return Table(table.blocks[selection] + (_judging(ran) if table.judged else ""), header, lines)

    first, *others = table.blocks
    blocks = [block(first, rows, printed), *(block(selection, ran) for selection in others)]
    if table.judged:
        return blocks
    rates = f", {table.rate} a second (of the loader alone)" if table.rate else ""
    experiments = {column.exp: column.exp if column.metric else column.heading for column in columns}
    costs = [
        [row.model, row.title, *(_cost(row.cells.get(exp), table.rate) for exp in experiments), _device(row)]
        for row in ran
    ]
    words = f"training time of a run{rates}, and best epoch (medians over seeds)"
    return [*blocks, Table(words, ["Model", "Method", *experiments.values(), "Device"], costs)]


def _judging(rows: Sequence[Row]) -> str:
    """The end of a block's title: the judge, and the numbers of its judgments."""
    judges = [run.judge for row in rows for run in row.runs]
    if not judges:
        return "; judge: none so far"
    asked, failed = sum(judge.judgments for judge in judges), sum(judge.failures for judge in judges)
    return f"; judge: {rows[0].judge}; judgments: {asked:,}, without a score: {failed:,}"


def _paper_line(row: PaperRow, columns: Sequence[Column], average: Sequence[Column], by: str = "paper") -> list[str]:
    """A row of the paper, or of the official logs."""
    scores = [
        with_spread(row.scores.get(column.key), row.std.get(column.key), column.digits, column.std_digits)
        for column in columns
    ]
    averages = [number(row.avg, column.digits) for column in average[:1]]
    return [row.model, row.title, by, row.params or DASH, DASH, *scores, *averages, DASH]


def _our_line(
    row: Row,
    columns: Sequence[Column],
    average: Sequence[Column],
    selection: Selection,
    printed: PaperRow | None,
) -> list[str]:
    """A row from the records, with differences from the printed row."""
    reference = printed.scores if printed else {}
    scores = [score(row.cell(column), column, selection, reference.get(column.key)) for column in columns]
    averages = []
    if average:
        mean, digits = row.average(average, selection), average[0].digits
        brackets = f" ({signed(mean - printed.avg, digits)})" if printed and mean is not None else ""
        averages = [number(mean, digits) + brackets]
    trials = span((run.trials for run in row.runs if run.trials is not None), ",")
    counts = [span((getattr(run.params, part) for run in row.runs), ",") for part in ("adapter", "head")]
    return [row.model, row.title, "ours", *counts, *scores, *averages, trials]


def score(cell: Cell | None, column: Column, selection: Selection = "best", printed: float | None = None) -> str:
    """One of our cells: centre, spread, seeds, marks, difference from the printed number, failures."""
    if cell is None:
        return DASH
    parts = [f"{count} {'OOM' if status == 'oom' else status}" for status, count in cell.failed.items()]
    if cell.runs:
        centre, spread = cell.centre(selection, column), cell.spread(selection, column)
        text = f"{with_spread(centre, spread, column.digits)} ×{len(cell.runs)}{cell.marks}"
        parts.insert(0, text if printed is None else f"{text} ({signed(centre - printed, column.digits)})")
    return ", ".join(parts) or DASH


def _cost(cell: Cell | None, rate: str | None) -> str:
    """Medians over the runs: training time, examples per second where the table shows them, best epoch; then the
    largest number of outputs that were cut off."""
    if cell is None or not cell.runs:
        return DASH
    parts = [f"{statistics.median(run.cost.train_s for run in cell.runs) / 60:.1f} min"]
    if rate:
        loader = [run.cost.loader_samples_per_s for run in cell.runs if run.cost.loader_samples_per_s is not None]
        alone = f" ({statistics.median(loader):.0f})" if loader else ""
        parts.append(f"{statistics.median(run.cost.samples_per_s for run in cell.runs):.0f}/s{alone}")
    parts.append(f"epoch {statistics.median(run.metrics.best_epoch for run in cell.runs):g}")
    unfinished = max(
        sum(value for key, value in found.items() if key.startswith("unfinished"))
        for run in cell.runs
        for _, found in run.metrics.scored
    )
    parts += [f"up to {unfinished:g} unfinished"] if unfinished else []
    return ", ".join(parts)


def _device(row: Row) -> str:
    """The hardware of a row's runs, each once."""
    return ", ".join(sorted({run.hardware.gpu or run.hardware.cpu for run in row.runs})) or DASH


# --- rows that were not run, and the commands that fill them ---------------------------------------------------------


def arranged(
    scale: str,
    found: Sequence[Row],
    paper: Sequence[PaperRow],
    configs: Path = CONFIGS,
    more: Iterable[str] = (),
) -> list[Row]:
    """Our rows in the paper's order of models, methods and sizes, with empty rows for those not run.

    more: models beside those that have a row.
    """
    models = sorted({row.model for row in found}.union(more))
    every = [*found, *planned.not_run(scale, found, paper, models, configs)]
    if scale == "paper":
        every = [replace(row, overrides=row.overrides | _sized(row, paper)) for row in every]
    printed = [line.model for line in paper]

    def place(names: list[str], name: str) -> tuple[int, str]:
        return (names.index(name) if name in names else len(names), name)

    def order(row: Row) -> tuple[tuple[int, str], tuple[int, str], int]:
        methods = [line.method for line in paper if line.model == row.model or row.model not in printed]
        size = next((index for index, line in enumerate(paper) if row.is_of(line)), len(paper))
        return place(printed, row.model), place(methods, row.method), size

    return sorted(every, key=order)


def _sized(row: Row, paper: Sequence[PaperRow]) -> dict[str, object]:
    """The settings that distinguish a printed row from other sizes of its method; none where there is one size."""
    sizes = [line.settings for line in paper if (line.model, line.method) == (row.model, row.method)]
    printed = next((line.settings for line in paper if row.is_of(line)), {})
    return printed if len(sizes) > 1 else {}


def commands(table: ScoreTable, scale: str, rows: Iterable[Row], configs: Path) -> str:
    """The command that fills or repeats each row that has a recipe."""
    lines = []
    for line in planned.lines(table, scale, rows, configs):
        row, exps = line.row, line.exps
        count = "" if table.judged else f": {len(row.runs)} of {len(exps) * len(line.seeds)} runs recorded"
        lines += [f"# {row.model}, {row.title}{count}", line.command]
        if table.judged:
            records = (f"results/records/{exp}/{row.model}/{row.method}/*.json" for exp in exps)
            lines.append(f"python -m scripts.judge {' '.join(records)}")
    if not lines:
        return ""
    intro = f"A run that has its record is not repeated. One run: `{table.example}`."
    if table.judged:
        intro += " Nor is an answer judged twice; `python -m scripts.judge --help` tells how to reach a judge."
    return "\n".join(["## Commands", "", intro, "", "```bash", *lines, "```", ""])

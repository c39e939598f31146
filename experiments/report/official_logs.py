"""The official repository's logs, a second reference beside the paper's numbers: FourierFT on GLUE, five seeds each."""

import statistics
from collections.abc import Sequence

from experiments.paper.printed import Logs, PaperRow
from experiments.paper.score_tables import TABLE2
from experiments.report.aggregate import Row
from experiments.report.render import DASH, Table, number, span, with_spread
from experiments.report.scores import score

NOTE = (
    "Logs: the median of five seeds at the best epoch, as the paper has it, ± the sample standard deviation. Paper and "
    "ours: as in Table 2."
)


def as_rows(logs: Sequence[Logs]) -> list[PaperRow]:
    """The logs as rows of Table 2, one per model; the mean only where every task was logged."""
    rows = []
    for model in dict.fromkeys(one.model for one in logs):
        own = {one.task: one for one in logs if one.model == model}
        every = [own[column.key].best for column in TABLE2.columns if column.key in own]
        rows.append(
            PaperRow(
                model=model,
                method="fourierft",
                settings={"n": 1000},
                params=None,
                median={task: one.best for task, one in own.items()},
                std={task: one.std for task, one in own.items()},
                avg=statistics.mean(every) if len(every) == len(TABLE2.columns) else None,
            )
        )
    return rows


def table(logs: Sequence[Logs], paper: Sequence[PaperRow], ours: Sequence[Row]) -> Table:
    """The paper, the logs and our runs at the paper's scale, task by task. paper: the printed rows of Table 2."""
    columns, lines = {column.key: column for column in TABLE2.columns}, []
    for logged in as_rows(logs):
        printed = next(line for line in paper if (line.model, line.title) == (logged.model, logged.title))
        run = next((row for row in ours if row.is_of(printed)), None)
        for one in (one for one in logs if one.model == logged.model):
            column = columns[one.task]
            cells = [
                with_spread(printed.median[one.task], printed.std[one.task]),
                with_spread(one.best, one.std, 2),
                score(run.cell(column), column) if run else DASH,
            ]
            lines.append([one.model, column.heading, *cells, number(one.scale, 0), span(one.epochs), one.note])
    header = ["Model", "Task", "Paper", "Logs", "Ours", "ΔW's scale", "Epochs logged", "Remark"]
    return Table("The official logs beside the paper and ours", header, lines, sentences=True)

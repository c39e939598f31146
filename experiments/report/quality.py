"""The claims on quality, Tables 2 to 5: FourierFT against LoRA, and beside the head alone."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from experiments.paper.printed import LORA_NAMES, PaperRow
from experiments.paper.score_tables import HELD_OUT, Column, ScoreTable
from experiments.record import Selection
from experiments.report.aggregate import Cell, Row
from experiments.report.gaps import MARGIN, Gap, Judged, no_loss
from experiments.report.render import DASH, Table, signed
from experiments.report.verdicts import FEWEST, Claim, Outcome, by_scale, weakest
from experiments.trials import LEGEND

ROUNDING = 1e-9  # of a difference of two floats
EDGES = LEGEND.keys()  # marks


class Comparison(NamedTuple):
    """FourierFT against LoRA and the head alone in one table: the differences, and the outcomes against LoRA."""

    tables: list[Table]
    outcomes: list[Outcome]
    whole: bool


def quality(table: ScoreTable, rows: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """The paper's claim about one of its tables: FourierFT against LoRA and head-only. rows: those of judged runs too,
    for a table scored by judges."""
    found, said = (_of_judges if table.judged else compared)(table, rows, paper), table.claim
    pages = (table.key, HELD_OUT.key) if table.judged else (table.key,)
    measured = (*found.tables, *(one.said for one in found.outcomes if one.said))
    return Claim(said.name, said.statement, measured, tuple(found.outcomes), pages, found.whole)


def _of_judges(table: ScoreTable, rows: Sequence[Row], paper: Sequence[PaperRow]) -> Comparison:
    """Only GPT-4 judges decide, and one that refutes is enough. Scores of other judges are reported only, and so are
    held-out losses, the only measurement at scale small."""
    losses = compared(HELD_OUT, [row for row in rows if not row.judge], ())
    tables, outcomes, whole = [*losses.tables], [replace(one, where="held-out loss") for one in losses.outcomes], False
    for judge in sorted({row.judge for row in rows if row.judge}):
        found = compared(table, [row for row in rows if row.judge == judge], paper)
        tables += [replace(one, title=f"{one.title}; judge: {judge}") for one in found.tables]
        if judge.startswith("gpt-4"):
            outcomes += [one for one in found.outcomes if one.scale == "paper"]
            whole |= found.whole
    return Comparison(tables, outcomes, whole)


@dataclass(frozen=True)
class Difference:
    """One column of two rows: our cell, of FourierFT or of the head alone, and that of the other method."""

    column: Column
    selection: Selection
    ours: Cell
    theirs: Cell

    @property
    def seeds(self) -> int:
        """The smaller number of the two."""
        return min(len(self.ours.runs), len(self.theirs.runs))

    @property
    def gap(self) -> float:
        """Our centre minus the other's, in the unit of the column."""
        ours, theirs = (cell.centre(self.selection, self.column) for cell in (self.ours, self.theirs))
        return ours - theirs

    @property
    def marks(self) -> str:
        """The signs of what keeps either cell from being evidence."""
        return marks((self.ours, self.theirs))

    @property
    def ahead(self) -> Gap:
        """How far ours are better, in the unit of the column."""
        both = [
            dict(zip((run.seed for run in cell.runs), cell.scores(self.selection, self.column), strict=True))
            for cell in (self.ours, self.theirs)
        ]
        return Gap.between(*(both[::-1] if self.column.loss else both))

    @property
    def margin(self) -> float:
        """What counts as no loss: a point, or as many percent of the other's score where that is no percentage."""
        in_percent = self.column.factor == 100 and not self.column.loss
        return MARGIN if in_percent else MARGIN / 100 * abs(self.theirs.centre(self.selection, self.column))

    @property
    def is_near(self) -> bool:
        """Whether ours are worse by less than the margin as measured, which is no test."""
        return self.ahead.mean > -self.margin

    def judged(self, comparisons: int) -> Judged:
        """What the tests say of ours: worse by less than the margin, or by more. comparisons: of one claim."""
        return self.ahead.judged(no_loss(comparisons, self.margin), max(2, self.column.digits))

    def __str__(self) -> str:
        shown = "".join(mark for mark in self.marks if mark in {"‡", *EDGES})
        return f"{signed(self.gap, self.column.digits)} ×{self.seeds}{shown}"


def marks(cells: Iterable[Cell]) -> str:
    """The signs of what keeps any of the cells from being evidence, each once."""
    return "".join(dict.fromkeys("".join(cell.marks for cell in cells)))


def compared(table: ScoreTable, rows: Sequence[Row], paper: Sequence[PaperRow]) -> Comparison:
    """FourierFT against LoRA and head-only, column by column, and the outcomes against LoRA.

    The verdict needs every FourierFT row of the paper's table and its LoRA row, in all columns, with all seeds at a
    clean commit. The average, or each column in a table without averages, may be worse than LoRA's by at most the mean
    of the paper's standard deviations; with the settings in the claim's `above` it must be better. At scale small tests
    decide, by `Difference.margin`, at a level shared by all that have the seeds.
    """
    lines, outcomes, judged, small = [], [], set(), []
    groups = [table.columns] if table.averaged else [(column,) for column in table.columns]
    for row, other in pairs(rows, (*LORA_NAMES, "head_only")):
        both = _columns(row, other, table)
        if not both:
            continue
        said = {column.heading: str(pair) for column, pair in both.items()}
        printed = [one.printed(paper) for one in (row, other)]
        for columns in (columns for columns in groups if both.keys() >= set(columns)):
            gap, digits = statistics.mean(both[column].gap for column in columns), columns[0].digits
            name = "Average" if table.averaged else columns[0].heading
            if table.averaged:
                said[name] = signed(gap, digits)
            if other.method in LORA_NAMES and None not in printed and not any(both[column].marks for column in columns):
                deviations = (one.std.get(column.key) for one in printed for column in columns)
                margin = statistics.mean(one for one in deviations if one is not None)
                higher = printed[0].settings in table.claim.above
                judged.add((row.model, printed[0].title, columns))
                outcomes.append(Outcome("paper", row.model, gap > 0 if higher else gap >= -margin - ROUNDING))
                said[name] += " (must be above)" if higher else f" (margin {margin:.{digits + 1}f})"
        lines.append(({"Scale": row.scale, "Model": row.model, "FourierFT": row.label, "minus": other.title}, said))
        if row.scale == "small" and other.method in LORA_NAMES:
            small.append((row, other, {column: pair for column, pair in both.items() if column not in table.extra}))
    comparisons = max(1, sum(pair.seeds >= FEWEST for *_, both in small for pair in both.values()))
    for row, other, both in small:
        heads = (one for one in rows if (one.scale, one.model, one.method) == ("small", row.model, "head_only"))
        head = next(heads, None)
        versus = f"{row.label} ahead of {other.title} by"
        outcomes += [
            replace(one, size=row.label, said=f"small, {row.model}, {one.where}: {versus} {one.said}")
            for one in _at_scale_small(both, _columns(head, other, table) if head else {}, comparisons)
        ]
    needed = {(line.model, line.title, columns) for line in paper if line.method == "fourierft" for columns in groups}
    return Comparison(_differences(table, lines), outcomes, judged >= needed)


def _columns(row: Row, other: Row, table: ScoreTable) -> dict[Column, Difference]:
    """The columns in which both rows have runs."""
    cells = {column: (row.cell(column), other.cell(column)) for column in table.columns_at(row.scale)}
    both = {column: two for column, two in cells.items() if all(cell and cell.runs for cell in two)}
    return {column: Difference(column, table.selection, *two) for column, two in both.items()}


def _at_scale_small(
    found: dict[Column, Difference], heads: dict[Column, Difference], comparisons: int
) -> Iterator[Outcome]:
    """For each experiment, whether FourierFT is level with LoRA or above in all of its metrics; undecided where the
    head alone is near LoRA in all, and where a search behind either ended at an edge: its method may be better than it
    looks. Runs marked for anything else but missing seeds are no evidence. comparisons: of the claim, in all."""
    experiments: dict[str, list[Difference]] = {}
    for column, pair in found.items():
        experiments.setdefault(column.exp, []).append(pair)
    for exp, own in experiments.items():
        judged, several = [pair.judged(comparisons) for pair in own], len(own) > 1
        tells = not all(pair.column in heads and heads[pair.column].is_near for pair in own)
        said = ", ".join(
            f"{pair.column.heading} " * several + one.said for pair, one in zip(own, judged, strict=True)
        ) + "; but so near to LoRA comes the head alone, so the task cannot tell" * (not tells)
        name = exp if several else own[0].column.heading
        marked = {mark for pair in own for mark in pair.marks}
        evidence, at_edge = not marked - {"†"} - EDGES, bool(marked & EDGES)
        holds = weakest(one.answer for one in judged) if tells and not at_edge else None
        yield Outcome("small", name, holds, min(pair.seeds for pair in own), "", evidence, at_edge, said)


def _differences(table: ScoreTable, lines: Sequence[tuple[dict[str, str], dict[str, str]]]) -> list[Table]:
    """One row per pair of rows, in the columns that have a value; no table without pairs."""
    if not lines:
        return []
    columns = [column.heading for column in table.columns + table.extra + table.parts]
    headings = [name for name in (*columns, "Average") if any(name in said for _, said in lines)]
    body = by_scale([*which.values(), *(said.get(name, DASH) for name in headings)] for which, said in lines)
    worse = [column.heading for column in table.columns if column.loss]
    note = f" ({', '.join(worse)}: less is better)" if worse else ""
    return [Table(f"Differences, {table.unit('points')}{note}; ×k: seeds", [*lines[0][0], *headings], body)]


def pairs(rows: Sequence[Row], methods: Sequence[str]) -> Iterator[tuple[Row, Row]]:
    """Every FourierFT row that is no variant, with every row of `methods` on the same model at the same scale."""
    for row in (row for row in rows if row.method == "fourierft" and not row.is_variant):
        for other in rows:
            if other.method in methods and (row.scale, row.model) == (other.scale, other.model):
                yield row, other

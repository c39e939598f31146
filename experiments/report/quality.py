"""The claims on quality, Tables 2 to 5: FourierFT against LoRA, and beside the head alone."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from experiments.record import Selection
from experiments.report.aggregate import Cell, Row
from experiments.report.paper import LORA_NAMES, PaperRow, beside
from experiments.report.render import DASH, Table, signed
from experiments.report.score_tables import HELD_OUT, TABLE2, TABLE3, TABLE4, TABLE5, Column, ScoreTable
from experiments.report.verdicts import (
    NOT_MEASURED,
    NOT_REPRODUCED,
    REPRODUCED,
    Claim,
    Outcome,
    by_scale,
    smaller,
    verdict,
)

ROUNDING = 1e-9  # of a difference of two floats


def quality(rows: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """Table 2: FourierFT against LoRA and head-only."""
    found = compared(TABLE2, rows, paper)
    return Claim(
        "Quality",
        "On GLUE FourierFT matches LoRA with 6 % of its parameters: 85.0 against 85.2 on RoBERTa-base, 88.0 against "
        "87.8 on RoBERTa-large (Table 2).",
        found.tables,
        found.verdict,
        smaller(found.outcomes),
    )


def quality_of_texts(rows: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """Table 3: FourierFT against LoRA, metric by metric."""
    found = compared(TABLE3, rows, paper)
    return Claim(
        "Quality of generated text",
        "On E2E NLG FourierFT is level with LoRA or above it in all five metrics with 13.7 % and 9.4 % of its "
        "parameters: BLEU 69.1 against 68.9 on GPT-2 Medium, 70.2 against 70.1 on GPT-2 Large (Table 3).",
        found.tables,
        found.verdict,
        smaller(found.outcomes),
    )


def quality_of_answers(rows: Sequence[Row], graded: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """Table 4: FourierFT against LoRA by the judges of the paper's kind; one that refutes is enough. What other judges
    say is told alone, and so are held-out losses: they are all that scale small has.
    """
    losses = compared(HELD_OUT, rows, ())
    tables, verdicts = [*losses.tables], []
    for judge in sorted({row.judge for row in graded}):
        found = compared(TABLE4, [row for row in graded if row.judge == judge], paper)
        tables += [replace(table, title=f"{table.title}; judge: {judge}") for table in found.tables]
        verdicts += [found.verdict] if judge.startswith("gpt-4") else []
    return Claim(
        "Quality of answers",
        "After instruction tuning FourierFT reaches LoRA's scores by GPT-4 with 0.064M parameters against 33.5M: on "
        "LLaMA2-7B MT-Bench 5.18 against 5.20, Vicuna 7.49 against 7.35 (Table 4).",
        tuple(tables),
        next((verdict for verdict in (NOT_REPRODUCED, REPRODUCED) if verdict in verdicts), NOT_MEASURED),
        smaller(replace(one, where="held-out loss") for one in losses.outcomes),
    )


def quality_on_images(rows: Sequence[Row], paper: Sequence[PaperRow]) -> Claim:
    """Table 5: FourierFT in two sizes against LoRA and head-only; the larger must be above LoRA."""
    found = compared(TABLE5, rows, paper, above=({"n": 10_000},))
    return Claim(
        "Quality on images",
        "On eight image sets FourierFT matches LoRA with n=3000, 77.75 against 77.58 on ViT-base and 83.71 against "
        "84.94, called a match, on ViT-large; with n=10000 it is above LoRA, 80.29 and 86.68 (Table 5).",
        found.tables,
        found.verdict,
        smaller(found.outcomes),
    )


@dataclass
class Comparison:
    """FourierFT against LoRA and the head alone in one table. tables: none, or one of the differences."""

    tables: tuple[Table, ...] = ()
    verdict: str = NOT_MEASURED
    outcomes: list[Outcome] = field(default_factory=list)  # at scale small, against LoRA


@dataclass(frozen=True)
class Pair:
    """One column of two rows: the cell of FourierFT and that of the other."""

    column: Column
    ours: Cell
    theirs: Cell

    @property
    def seeds(self) -> int:
        """Of the two, the fewer."""
        return min(len(self.ours.runs), len(self.theirs.runs))

    def gap(self, selection: Selection) -> float:
        """The centre of the one minus that of the other, as the column shows them."""
        return self.ours.centre(selection, self.column) - self.theirs.centre(selection, self.column)

    @property
    def marks(self) -> str:
        """What keeps either from being evidence."""
        return "".join(dict.fromkeys(self.ours.marks + self.theirs.marks))


def compared(
    table: ScoreTable, rows: Sequence[Row], paper: Sequence[PaperRow], above: Sequence[dict[str, int]] = ()
) -> Comparison:
    """FourierFT against LoRA and head-only, column by column, and what that says of LoRA.

    The verdict needs every FourierFT row of the paper's table beside its LoRA, in all columns, with its seeds at a
    clean commit. The average, or each column of a table that has none, may then fall below LoRA's by the mean of the
    paper's standard deviations, no more; that of the settings in `above` must be higher than LoRA's. At scale small
    every metric may fall below by the mean of the two spreads that were measured there.
    """
    lines, holds, found = [], {}, Comparison()
    selection = table.selection
    groups = [table.columns] if table.averaged else [(column,) for column in table.columns]
    for row, other in pairs(rows, (*LORA_NAMES, "head_only")):
        both = _pairs_of_cells(row, other, table)
        gaps = {column: pair.gap(selection) for column, pair in both.items()}
        if not gaps:
            continue
        said = {
            column.heading: f"{signed(gap, column.digits)} ×{both[column].seeds}" + "‡" * ("‡" in both[column].marks)
            for column, gap in gaps.items()
        }
        printed = [beside(row, paper), beside(other, paper)]
        for columns in (columns for columns in groups if gaps.keys() >= set(columns)):
            gap, digits = statistics.mean(gaps[column] for column in columns), columns[0].digits
            name = "Average" if table.averaged else columns[0].heading
            if table.averaged:
                said[name] = signed(gap, digits)
            marked = any(both[column].marks for column in columns)
            if other.method in LORA_NAMES and None not in printed and not marked:
                margin = statistics.mean(
                    one.std[column.key] for one in printed for column in columns if column.key in one.std
                )
                higher = printed[0].settings in above
                key = (row.model, printed[0].title, columns)
                holds[key] = holds.get(key, True) and (gap > 0 if higher else gap >= -margin - ROUNDING)
                said[name] += " (must be above)" if higher else f" (margin {margin:.{digits + 1}f})"
        lines.append(({"Scale": row.scale, "Model": row.model, "FourierFT": row.label, "minus": other.title}, said))
        if row.scale == "small" and other.method in LORA_NAMES:
            heads = (head for head in rows if (head.scale, head.model) == (row.scale, row.model))
            found.outcomes += _outcomes(
                table, row, other, next((head for head in heads if head.method == "head_only"), None)
            )
    ours = [line for line in paper if line.method == "fourierft"]
    needed = {(line.model, line.title, columns) for line in ours for columns in groups}
    found.verdict = verdict(holds.values(), whole=holds.keys() >= needed)
    found.tables = _tables(table, lines)
    return found


def _pairs_of_cells(row: Row, other: Row, table: ScoreTable) -> dict[Column, Pair]:
    """The columns in which both rows have runs."""
    cells = {column: (row.cell(column), other.cell(column)) for column in table.columns_at(row.scale)}
    return {column: Pair(column, *two) for column, two in cells.items() if all(cell and cell.runs for cell in two)}


def _outcomes(table: ScoreTable, row: Row, lora: Row, head: Row | None) -> Iterator[Outcome]:
    """Whether FourierFT is level with LoRA, experiment by experiment, in every metric of it. An experiment in which the
    head alone is level with LoRA cannot tell; runs that are no evidence count as no seeds."""
    experiments: dict[str, list[Pair]] = {}
    for column, pair in _pairs_of_cells(row, lora, table).items():
        if column not in table.extra:
            experiments.setdefault(column.exp, []).append(pair)
    trivial = _pairs_of_cells(head, lora, table) if head else {}
    for exp, found in experiments.items():
        holds = all(_is_level(pair, table.selection) for pair in found)
        tells = not all(p.column in trivial and _is_level(trivial[p.column], table.selection) for p in found)
        evidence = not {mark for pair in found for mark in pair.marks} - {"†"}
        name = found[0].column.heading if len(found) == 1 else exp
        seeds = min(pair.seeds for pair in found) if evidence else 0
        yield Outcome(name, holds if tells else None, seeds, row.label)


def _is_level(pair: Pair, selection: Selection) -> bool:
    """Whether the one falls behind the other by the mean of the two measured spreads at most."""
    spreads = [cell.spread(selection, pair.column) or 0.0 for cell in (pair.ours, pair.theirs)]
    gap = pair.gap(selection)
    return (gap if pair.column.loss else -gap) <= statistics.mean(spreads) + ROUNDING


def _tables(table: ScoreTable, lines: Sequence[tuple[dict[str, str], dict[str, str]]]) -> tuple[Table, ...]:
    """The differences, a row a pair of rows, in the columns that have any."""
    if not lines:
        return ()
    columns = table.columns + table.extra + table.parts
    headings = [
        name for name in (*(column.heading for column in columns), "Average") if any(name in said for _, said in lines)
    ]
    header = [*lines[0][0], *headings]
    body = by_scale([*which.values(), *(said.get(name, DASH) for name in headings)] for which, said in lines)
    worse = [column.heading for column in table.columns if column.loss]
    note = f" ({', '.join(worse)}: less is better)" if worse else ""
    return (Table(f"Differences, {table.unit('points')}{note}; ×k: seeds", header, body),)


def pairs(rows: Sequence[Row], methods: Sequence[str]) -> Iterator[tuple[Row, Row]]:
    """Every FourierFT row, variants apart, with every row of `methods` on the same model at the same scale."""
    for row in rows:
        for other in rows:
            if (
                row.method == "fourierft"
                and not row.is_variant
                and other.method in methods
                and (row.scale, row.model) == (other.scale, other.model)
            ):
                yield row, other

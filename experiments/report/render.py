"""Tables of plain text as Markdown and LaTeX."""

from collections.abc import Iterable
from dataclasses import dataclass

DASH = "—"
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    DASH: "---",
    "–": "--",
}


@dataclass(frozen=True)
class Table:
    """Cells of plain text; rows with equal first cells form a group. sentences: whether the last column holds some."""

    title: str
    header: list[str]
    rows: list[list[str]]
    sentences: bool = False


def markdown(table: Table) -> str:
    """A GitHub table."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def latex(table: Table, notes: Iterable[str]) -> str:
    """A booktabs table, with a rule between groups and the notes below."""
    columns = "l" * len(table.header)
    if table.sentences:
        columns = columns[:-1] + r"p{0.4\linewidth}"
    body = []
    for above, row in zip([table.header, *table.rows], table.rows, strict=False):
        if above[0] != row[0]:
            body.append(r"\midrule")
        body.append(" & ".join(map(escape, row)) + r" \\")
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\footnotesize",
            rf"\caption{{{escape(table.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(escape, table.header)) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par {escape(note)}" for note in notes),
            r"\end{table*}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


def span(values: Iterable[float], form: str = "", to: str = "–") -> str:
    """The common value, or the smallest and the largest; a dash where there are none. form: a format specification."""
    ends = sorted(set(values))
    return to.join(f"{end:{form}}" for end in ends[:: max(len(ends) - 1, 1)]) or DASH


def number(value: float | None, digits: int = 1) -> str:
    """With this many decimals; a dash for None."""
    return DASH if value is None else f"{value:.{digits}f}".replace("-", "−")


def with_spread(value: float | None, spread: float | None, digits: int = 1, spread_digits: int | None = None) -> str:
    """The value, and ± its spread if there is one. spread_digits: the decimals of the spread, where they differ."""
    return number(value, digits) + ("" if spread is None else f" ± {number(spread, spread_digits or digits)}")


def signed(value: float, digits: int = 1) -> str:
    """With this many decimals and the sign; never -0.0."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")

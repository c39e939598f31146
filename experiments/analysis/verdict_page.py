"""results/README.md: which claims of the paper stand, what was measured of each, and where everything is."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from experiments.analysis import sizes
from experiments.analysis.aggregate import Row
from experiments.analysis.render import Table, markdown
from experiments.analysis.score_tables import ScoreTable
from experiments.analysis.verdicts import FEWEST, Claim

INTRODUCTION = f"""\
Generated from the records by `make tables`; not edited by hand. Scales never mix. The verdict is of the paper's models
on the paper's data alone. Scale small, a smaller pre-trained model or part of the data, all real, has a column of its
own: fewer than {FEWEST} seeds decide nothing there, nor does a task on which the head alone is level with LoRA. Level
is what falls behind by no more than the measured spread. Scale mini, the miniature, is a demonstration: it is told
below and counts for nothing.
"""


def page(claims: Sequence[Claim], index: Sequence[str]) -> str:
    """The whole page. `index`: the entries of the last section, a line each."""
    overview = [[_link(claim), claim.statement, claim.verdict, claim.smaller] for claim in claims]
    header = ["Claim", "What is claimed", "Verdict, paper scale", "At scale small"]
    parts = [
        "# Results\n",
        INTRODUCTION,
        "## The paper's claims\n",
        markdown(Table("", header, overview)),
        "## What was measured\n",
        *(_measured(claim) for claim in claims if claim.measured),
        "## Tables and figures\n",
        "".join(f"- {line}\n" for line in index),
    ]
    return "\n".join(parts)


def entries(
    found: Iterable[tuple[ScoreTable, str, Sequence[Row]]], benches: int, models: int, folder: str
) -> list[str]:
    """The index: every table of scores that was `found`, with its scale and its rows, and the pages of sizes and of the
    bench. `folder`: where they stand; `benches`, `models`: how many cases and models there are."""
    lines = []
    for table, scale, ours in found:
        ended = Counter({"ok": sum(len(row.runs) for row in ours)})
        ended.update(failure.status for row in ours for cell in row.cells.values() for failure in cell.failures)
        counts = ", ".join(f"{status} {count}" for status, count in sorted(ended.items()))
        file = f"{folder}/{table.key}_{scale}"
        runs = "judged runs" if table.judged else "runs"
        lines.append(f"[{table.title}, {scale} scale]({file}.md) ([LaTeX]({file}.tex)); {runs}: {counts}")
    if models:
        for name, what in sizes.PAGES.items():
            lines.append(f"[{what}]({folder}/{name}.md) ([LaTeX]({folder}/{name}.tex)); models: {models}")
    if benches:
        file = f"{folder}/bench"
        lines.append(f"[Speed and memory of a training step]({file}.md) ([LaTeX]({file}.tex)); cases: {benches}")
    return lines


def _link(claim: Claim) -> str:
    """The claim's name, linked to what was measured of it."""
    anchor = re.sub(r"[^\w -]", "", claim.name.lower()).replace(" ", "-")
    return f"[{claim.name}](#{anchor})" if claim.measured else claim.name


def _measured(claim: Claim) -> str:
    """The section of one claim: its tables, each below its caption, and its sentences."""
    parts = [f"### {claim.name}\n\n"]
    for before, one in zip([None, *claim.measured], claim.measured, strict=False):
        if isinstance(one, Table):
            parts.append(f"{one.title}:\n\n{markdown(one)}\n")
        else:
            parts += ["\n"] * isinstance(before, Table) + [f"- {one}\n"]
    return "".join(parts).rstrip() + "\n"

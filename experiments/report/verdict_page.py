"""results/README.md: which claims of the paper stand, what was measured of each, and where everything is."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.report import official_logs, questions, selection, sizes
from experiments.report.aggregate import Row
from experiments.report.paper import PaperRow, read_logs
from experiments.report.render import Table, markdown
from experiments.report.score_tables import ScoreTable
from experiments.report.verdicts import FEWEST, Claim

INTRODUCTION = f"""\
Generated from the records by `make tables`; not edited by hand. Scales never mix. The verdict is of the paper's models
on the paper's data alone. Scale small, a smaller pre-trained model or part of the data, all real, has a column of its
own: fewer than {FEWEST} seeds decide nothing there, nor does a task on which the head alone is level with LoRA. Level
is what falls behind by no more than the measured spread; the studies call better or worse what Welch's t-test does, at
5 % over all comparisons of a claim. Scale mini, the miniature, is a demonstration: it is told below and counts for
nothing.
"""

ANSWERS = {"not reproduced": "no", "reproduced": "yes", "does not hold": "no", "holds": "yes"}

# The claims that stand in tables with pages of their own, by the names of the files.
DETAILS = {
    "Parameters": ["table1_parameters", "parameters"],
    "Quality": ["table2_glue"],
    "Quality of generated text": ["table3_e2e"],
    "Quality of answers": ["table4_instruct", "held_out_instruct"],
    "Quality on images": ["table5_vit"],
    "Rank": ["study_rank"],
    "Memory": ["bench"],
    "Speed": ["bench"],
    "Memory on six tasks": ["study_memory"],
    "Scaling with n": ["study_scaling"],
    "Equal parameters": ["study_scaling"],
    "Fewest parameters": ["study_scaling"],
    "Frequency bias": ["study_bias"],
    "Best frequency": ["study_bias"],
    "Basis": ["study_basis"],
    "Other bases": ["study_basis"],
    "Expressive power": ["study_expressive"],
    "Training curves": ["study_curves"],
    "Rank, learnt or given": ["study_rank"],
    "Initialisation": ["study_initialisation"],
    "Luck in the positions": ["study_luck"],
    "Positions on a grid": ["study_grid"],
}


def page(
    claims: Sequence[Claim], rows: Sequence[Row], glue: Sequence[PaperRow], paper: Path, index: Sequence[str]
) -> str:
    """The whole page. `glue`: the printed rows of Table 2; `paper`: the folder of the logs and the questions; `index`:
    the entries of the last section, a line each. Raises UserError."""
    logs, asked = read_logs(paper), questions.read_questions(paper)
    parts = [
        "# Results\n",
        INTRODUCTION,
        "## The paper's claims\n",
        markdown(_overview([claim for claim in claims if not claim.question], ["Claim", "What is claimed", "Verdict"])),
        "## Questions that the paper leaves open\n",
        markdown(_overview([claim for claim in claims if claim.question], ["Question", "In words", "Answer"])),
        "## What was measured\n",
        *(_measured(claim, index) for claim in claims if claim.measured),
        "## The official logs\n",
        f"{official_logs.NOTE}\n",
        markdown(official_logs.table(logs, glue, rows)),
        f"## {selection.TITLE}\n",
        f"{selection.in_words(logs, rows)}\n",
        _block(selection.of_logs(logs)),
        _block(selection.by_experiment(rows)),
        "".join(f"- {note}\n" for note in selection.NOTES),
        "## What users asked\n",
        markdown(questions.table(asked)),
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
    file = f"{folder}/selection"
    lines.append(f"[{selection.TITLE}, method by method]({file}.md) ([LaTeX]({file}.tex))")
    if benches:
        file = f"{folder}/bench"
        lines.append(f"[Speed and memory of a training step]({file}.md) ([LaTeX]({file}.tex)); cases: {benches}")
    return lines


def _overview(claims: Iterable[Claim], header: Sequence[str]) -> Table:
    name, statement, verdict = header
    rows = [
        [_link(claim), claim.statement, _answer(claim, claim.verdict), _answer(claim, claim.smaller)]
        for claim in claims
    ]
    return Table("", [name, statement, f"{verdict}, paper scale", "At scale small"], rows)


def _answer(claim: Claim, verdict: str) -> str:
    """A question is answered by yes or no, where a claim is reproduced, or holds, or not."""
    if claim.question:
        for said, answer in ANSWERS.items():
            verdict = verdict.replace(said, answer)
    return verdict


def _link(claim: Claim) -> str:
    """The claim's name, linked to what was measured of it."""
    anchor = re.sub(r"[^\w -]", "", claim.name.lower()).replace(" ", "-")
    return f"[{claim.name}](#{anchor})" if claim.measured else claim.name


def _measured(claim: Claim, index: Iterable[str]) -> str:
    """The section of one claim: its tables, each below its caption, and its sentences; first where there is more."""
    parts = [f"### {claim.name}\n\n"]
    keys = "|".join(DETAILS.get(claim.name, ["-"]))
    pages = [re.match(rf"\[[^]]*\]\([^)]*/({keys})(_[a-z]+)?\.md\)", line) for line in index]
    parts += [f"{', '.join(page[0] for page in pages if page)}.\n\n"] if any(pages) else []
    for before, one in zip([None, *claim.measured], claim.measured, strict=False):
        if isinstance(one, Table):
            parts.append(f"{_block(one)}\n")
        else:
            parts += ["\n"] * isinstance(before, Table) + [f"- {one}\n"]
    return "".join(parts).rstrip() + "\n"


def _block(table: Table) -> str:
    """A table below its caption."""
    return f"{table.title}:\n\n{markdown(table)}"

"""results/README.md: the verdict on each claim of the paper, what was measured of it, and an index of all pages."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from experiments.paper.printed import Asked, Logs, PaperRow, read_facts
from experiments.report import official_logs, selection
from experiments.report.aggregate import Row
from experiments.report.gaps import MARGIN, POWER, SIGNIFICANCE
from experiments.report.page import Page
from experiments.report.render import Table, markdown
from experiments.report.verdicts import FEWEST, Claim

INTRODUCTION = f"""\
Generated from the records by `make tables`; not edited by hand. Scales are never mixed. The verdict rests on the
paper's models and data alone. Scale small (a smaller pre-trained model, or part of the data, all real) has a column of
its own; fewer than {FEWEST} seeds decide nothing there, nor does a task on which the head alone comes within the margin
of LoRA. Scale mini, the miniature, is a demonstration: it is reported below and decides nothing.

A gap between the scores of two methods is judged by t-tests over the seeds, the data set as it is, at
{100 * SIGNIFICANCE:g} % over all comparisons of a claim: paired where both have the same seeds, Welch's elsewhere. The
margin is {MARGIN:g} point, or {MARGIN:g} % of LoRA's score where that is no percentage; in Tables 2 to 5 at the paper's
scale it is the spread that the paper prints, without a test.

- *above*, *below*: there is a difference, however small. *level*: it is smaller than the margin, by two one-sided
  tests; a difference that is claimed or asked for may be found level.
- *not worse*, where the claim is "level or above": worse by less than the margin, if at all. *worse*: by more.
- *cannot tell*: no test decides. A difference that does not show is no equality. So many seeds would decide with a
  chance of {100 * POWER:g} %, were the gap and its spread as measured.
- A gap in a sentence is one of means, with its standard error in brackets. Tables of scores and of their differences go
  by the paper's statistic, mostly the median.
- What rests on a search whose best rate was the highest or the lowest that it tried (↑, ↓ in the tables) cannot tell: a
  better one may lie beyond.
"""

ANSWERS = {"not reproduced": "no", "reproduced": "yes", "does not hold": "no", "holds": "yes"}


def summary(
    claims: Sequence[Claim],
    rows: Sequence[Row],
    glue: Sequence[PaperRow],
    paper: Path,
    pages: Sequence[Page],
    folder: str,
) -> str:
    """The whole page. glue: the printed rows of Table 2. paper: the folder of the paper's numbers. pages: those of the
    index, which lie in `folder`. Raises UserError."""
    logs, asked = (read_facts(kind, paper) for kind in (Logs, Asked))
    parts = [
        "# Results\n",
        INTRODUCTION,
        "## The paper's claims\n",
        markdown(_overview([claim for claim in claims if not claim.question], ["Claim", "What is claimed", "Verdict"])),
        "## Questions that the paper leaves open\n",
        markdown(_overview([claim for claim in claims if claim.question], ["Question", "In words", "Answer"])),
        "## What was measured\n",
        *(_measured(claim, pages, folder) for claim in claims if claim.measured),
        "## The official logs\n",
        f"{official_logs.NOTE}\n",
        markdown(official_logs.table(logs, glue, rows)),
        f"## {selection.TITLE}\n",
        f"{selection.in_words(logs, rows)}\n",
        _block(selection.of_logs(logs)),
        _block(selection.by_experiment(rows)),
        "".join(f"- {note}\n" for note in selection.NOTES),
        "## What users asked\n",
        markdown(asked_table(asked)),
        "## Tables and figures\n",
        "".join(f"- {page.entry(folder)}\n" for page in pages),
    ]
    return "\n".join(parts)


def _overview(claims: Iterable[Claim], header: Sequence[str]) -> Table:
    name, statement, verdict = header
    rows = [
        [link(claim), claim.statement, answer(claim, claim.verdict), answer(claim, claim.small_scale)]
        for claim in claims
    ]
    return Table("", [name, statement, f"{verdict}, paper scale", "At scale small"], rows)


def answer(claim: Claim, verdict: str) -> str:
    """A verdict on the claim; for a question, yes or no in place of the words for claims."""
    if claim.question:
        for said, answer in ANSWERS.items():
            verdict = verdict.replace(said, answer)
    return verdict


def link(claim: Claim, page: str = "") -> str:
    """The claim's name, linked to its section if it has one. page: the address of this page, as another has it."""
    anchor = re.sub(r"[^\w -]", "", claim.name.lower()).replace(" ", "-")
    return f"[{claim.name}]({page}#{anchor})" if claim.measured else claim.name


def _measured(claim: Claim, pages: Iterable[Page], folder: str) -> str:
    """The section of one claim: links to its pages, its tables, its sentences."""
    links = ", ".join(page.link(folder) for page in pages if page.key in claim.pages)
    parts = [f"### {claim.name}\n", *([f"{links}.\n"] if links else [])]
    sentences = "".join(f"- {one}\n" for one in claim.measured if isinstance(one, str))
    tables = [_block(one) for one in claim.measured if isinstance(one, Table)]
    return "\n".join([*parts, *tables, *([sentences] if sentences else [])])


def _block(table: Table) -> str:
    """A table below its caption."""
    return f"{table.title}:\n\n{markdown(table)}"


def asked_table(asked: Iterable[Asked]) -> Table:
    """One row per question of a user, with links relative to results/."""
    lines = []
    for one in asked:
        links = ", ".join(f"[{PurePosixPath(link).name}](../{link})" for link in one.links)
        lines.append([f"[{one.place}]({one.source})", one.question, one.state, f"{one.answer} {links}"])
    return Table("", ["Asked", "Question", "State", "Answer"], lines)

"""Make all tables as Markdown and LaTeX: the scores, one table per scale, the parameters, how far a step moves a
model, the bench, banks of adapters, the parts of a step, the gain by choosing the best epoch, the studies; and
results/README.md with the verdicts.

    python -m scripts.tables [--records results/records] [--judged results/judged] [--search results/search]
                             [--studies results/studies] [--bench results/bench] [--micro results/micro]
                             [--parameters results/parameters] [--paper results/paper] [--out results/tables]
                             [--fill README.md ...]

--fill also makes anew the passages of a page that hold numbers, as `make tables` does for README.md and docs/.

The same records give the same bytes. A record that is unreadable or inconsistent is named and left out; the exit code
is then 2, as it is if one of the paper's tables is unreadable.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from experiments.command import Command
from experiments.errors import UserError
from experiments.measure.bench import Bench
from experiments.measure.micro import Micro
from experiments.measure.sizes import Sizes
from experiments.paper.printed import Logs, PaperRow, Share, read_facts, read_paper
from experiments.paper.score_tables import SCORE_TABLES, TABLE2
from experiments.record import ROOT, Record, find, replace_file
from experiments.report import bank, movement, official_logs, scores, selection, sizes, speed
from experiments.report import micro as microbench
from experiments.report.aggregate import Row, rows
from experiments.report.claims import claims
from experiments.report.passages import filled, passages
from experiments.report.searches import Searches
from experiments.report.summary import summary
from experiments.report.verdicts import Claim
from experiments.studies import STUDIES

MADE = [f"{table.key}_*" for table in SCORE_TABLES]
MADE += ["study_*", "bench.*", "bank.*", "micro.*", "table1_parameters.*", "parameters.*"]  # what may go stale


@dataclass(frozen=True)
class Evidence:
    """What claims are judged by, read once. judged: the records with a judge's scores."""

    printed: dict[str, list[PaperRow]]
    searches: Searches
    runs: list[Record]
    judged: list[Record]
    full: list[Sizes]
    benches: list[Bench]

    @classmethod
    def read(cls, options: argparse.Namespace) -> "Evidence":
        """From the folders of a command's options. Raises UserError, also for a judged record without a judge."""
        judged = find(options.judged)
        if unjudged := [record for record in judged if record.judge is None]:
            names = ", ".join(f"{one.exp}/{one.model.name}/{one.method}, seed {one.seed}" for one in unjudged)
            remedy = "python -m scripts.judge writes those with one"
            raise UserError(f"{options.judged}: records without a judge ({names}); {remedy}")
        return cls(
            printed=read_paper(options.paper),
            searches=Searches.read(options.search, options.studies),
            runs=find(options.records),
            judged=judged,
            full=find(options.parameters, Sizes),
            benches=find(options.bench, Bench),
        )

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of the runs."""
        return rows(self.runs, self.searches.edges)

    @cached_property
    def answers(self) -> list[Row]:
        """The rows of the judged records."""
        return rows(self.judged, self.searches.edges)

    def claims(self, paper: Path, studies: Path) -> list[Claim]:
        """Every claim and question, those of the studies last. paper, studies: the folders. Raises UserError."""
        ranked = rows({one.place: one for one in [*find(studies / "rank" / "records"), *self.runs]}.values())
        shares = read_facts(Share, paper)
        found = claims(self.rows, self.printed, self.benches, self.full, shares, self.answers, ranked)
        return found + [claim for name, study in STUDIES.items() for claim in study.claims(studies / name)]

    def filled(self, page: Path, claims: Sequence[Claim]) -> str:
        """A page of the project with its passages made anew. Raises UserError."""
        root = os.path.relpath(ROOT, page.resolve().parent)
        return filled(page, passages(claims, self.rows, self.benches, self.full, "" if root == "." else f"{root}/"))


def build(options: argparse.Namespace) -> None:
    """Write all tables and the index, print their paths, and remove tables without records. Raises UserError."""
    paper, studies, out = options.paper, options.studies, options.out
    found, logs = Evidence.read(options), read_facts(Logs, paper)
    official = {TABLE2.key: official_logs.as_rows(logs)}
    pages = [
        *scores.pages(found.rows, found.answers, found.printed, options.configs, official),
        *sizes.pages(found.printed, found.full),
        movement.page(found.printed),
        selection.page(found.rows, logs),
        *speed.pages(found.benches),
        *bank.pages(found.benches),
        *(page for name, study in STUDIES.items() for page in study.pages(studies / name)),
        *microbench.pages(find(options.micro, Micro)),
    ]
    verdicts, glue = found.claims(paper, studies), found.printed[TABLE2.key]
    index, text = out.parent / "README.md", summary(verdicts, found.rows, glue, paper, pages, out.name)
    written = [path for page in pages for path in page.write_texts(out)]
    replace_file(index, text.encode())
    for stale in {path for pattern in MADE for path in out.glob(pattern)} - set(written):
        stale.unlink()
    for page in options.fill:
        replace_file(page, found.filled(page, verdicts).encode())
    print(*written, index, *options.fill, sep="\n")


main = Command("tables", __doc__, build)
main.add_results("records", "judged", "search", "studies", "bench", "micro", "parameters", "paper", out="tables")
main.add_argument("--fill", type=Path, nargs="+", default=[], metavar="PAGE", help="with passages that hold numbers")
main.add_argument("--configs", type=Path, default=Path("configs"), help="with the recipes that give the commands")

if __name__ == "__main__":
    sys.exit(main())

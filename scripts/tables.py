"""Make all tables as Markdown and LaTeX: the scores, one table per scale, the parameters, how far a step moves a
model, the bench, the parts of a step, the gain by choosing the best epoch, the studies; and results/README.md with the
verdicts.

    python -m scripts.tables [--records results/records] [--judged results/judged] [--search results/search]
                             [--studies results/studies] [--bench results/bench] [--micro results/micro]
                             [--parameters results/parameters] [--paper results/paper] [--out results/tables]

The same records give the same bytes. A record that is unreadable or inconsistent is named and left out; the exit code
is then 2, as it is if one of the paper's tables is unreadable.
"""

import argparse
import sys
from pathlib import Path

from experiments.command import Command
from experiments.errors import UserError
from experiments.measure.bench import Bench
from experiments.measure.micro import Micro
from experiments.measure.sizes import Sizes
from experiments.paper.printed import Logs, Share, read_facts, read_paper
from experiments.paper.score_tables import SCORE_TABLES, TABLE2
from experiments.record import find, replace_file
from experiments.report import micro as microbench
from experiments.report import movement, official_logs, scores, selection, sizes, speed
from experiments.report.aggregate import Row, rows
from experiments.report.claims import claims
from experiments.report.searches import Searches
from experiments.report.summary import summary
from experiments.studies import STUDIES

MADE = [f"{table.key}_*" for table in SCORE_TABLES]
MADE += ["study_*", "bench.*", "micro.*", "table1_parameters.*", "parameters.*"]  # what may go stale


def graded(judged: Path, searches: Searches) -> list[Row]:
    """The rows of the judged records. Raises UserError for a record without a judge."""
    found = find(judged)
    if unjudged := [record for record in found if record.judge is None]:
        names = ", ".join(f"{one.exp}/{one.model.name}/{one.method}, seed {one.seed}" for one in unjudged)
        raise UserError(f"{judged}: records without a judge ({names}); python -m scripts.judge writes those with one")
    return rows(found, searches.edges)


def build(options: argparse.Namespace) -> None:
    """Write all tables and the index, print their paths, and remove tables without records. Raises UserError."""
    paper, studies, out = options.paper, options.studies, options.out
    printed, logs = read_paper(paper), read_facts(Logs, paper)
    runs, searches = find(options.records), Searches.read(options.search, studies)
    answers = graded(options.judged, searches)
    full, benches = find(options.parameters, Sizes), find(options.bench, Bench)
    everything = rows(runs, searches.edges)
    ranked = rows({one.config_hash: one for one in [*find(studies / "rank" / "records"), *runs]}.values())
    pages = [
        *scores.pages(everything, answers, printed, options.configs, {TABLE2.key: official_logs.as_rows(logs)}),
        *sizes.pages(printed, full),
        movement.page(printed),
        selection.page(everything, logs),
        *speed.pages(benches),
        *(page for name, study in STUDIES.items() for page in study.pages(studies / name)),
        *microbench.pages(find(options.micro, Micro)),
    ]
    found = claims(everything, printed, benches, full, read_facts(Share, paper), answers, ranked)
    found += [claim for name, study in STUDIES.items() for claim in study.claims(studies / name)]
    index, text = out.parent / "README.md", summary(found, everything, printed[TABLE2.key], paper, pages, out.name)
    written = [path for page in pages for path in page.write_texts(out)]
    replace_file(index, text.encode())
    for stale in {path for pattern in MADE for path in out.glob(pattern)} - set(written):
        stale.unlink()
    print(*written, index, sep="\n")


main = Command("tables", __doc__, build)
main.add_results("records", "judged", "search", "studies", "bench", "micro", "parameters", "paper", out="tables")
main.add_argument("--configs", type=Path, default=Path("configs"), help="with the recipes that give the commands")

if __name__ == "__main__":
    sys.exit(main())

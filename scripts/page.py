"""Make one page to browse: the verdicts, every run beside the paper's rows, sorted and filtered, as a plot, one by one.

    python -m scripts.page [--records results/records] [--judged results/judged] [--studies results/studies]
                           [--search results/search] [--bench results/bench] [--parameters results/parameters]
                           [--paper results/paper] [--out results/page.html]

The page is one file that any browser opens; its links to records are relative to where it lies. The same records give
the same bytes. A record that is unreadable or inconsistent is named and left out; the exit code is then 2.
"""

import argparse
import sys
from pathlib import Path

from experiments.command import Command
from experiments.record import find, replace_file
from experiments.report.browse.render import render
from experiments.results import Results
from scripts.tables import Evidence


def build(options: argparse.Namespace) -> None:
    """Write the page and print its path. Raises UserError."""
    found = Evidence.read(options)
    folders = {options.records: found.runs, options.judged: found.judged}
    folders |= {folder: find(folder) for folder in sorted(options.studies.glob("*/records"))}
    claims = found.claims(options.paper, options.studies)
    text = render(claims, folders, found.printed, options.paper, options.out.parent)
    replace_file(options.out, text.encode())
    print(options.out)


main = Command("page", __doc__, build)
main.add_results("records", "judged", "studies", "search", "bench", "parameters", "paper")
main.add_argument("--out", type=Path, default=Results().root / "page.html", help="the file (default: %(default)s)")

if __name__ == "__main__":
    sys.exit(main())

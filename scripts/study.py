"""Carry out a study of the paper: the runs that are missing, then its table and its figures.

    python -m scripts.study scaling [--scale mini|small|paper] [--plan] [--jobs 2] [--share 1/2] [train.device=cuda ...]

Overrides, as for run.py, apply to every run of the study and change what is recorded. A run with a record is not
repeated, so an interrupted study continues where it stopped. --jobs 2 carries out two runs at once; so do two such
commands, on machines that see the same files. --share 2/4 takes the second of four parts of the settings, for machines
that don't. Records go to OUT/<study>/; then the study's pages and figures are written, as by `make tables` and `make
figures`. Exit code 1 if runs failed (see their records), 2 for a wrong argument or if a record was left out as
unreadable or inconsistent, 130 after an interruption.
"""

import argparse

from experiments.command import Command
from experiments.errors import UserError
from experiments.report.costs import here, plan
from experiments.report.page import write_figures
from experiments.results import Results
from experiments.studies import STUDIES
from experiments.studies.base import DeclaredStudy, Study
from experiments.work import is_worker


def parse_share(text: str) -> tuple[int, int]:
    """Parse K/M, 1 <= K <= M. Raises UserError."""
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UserError(f"--share {text}: want K/M, the K-th of M parts, such as 2/4")
    return int(part), int(parts)


def show(chosen: Study, options: argparse.Namespace, share: tuple[int, int]) -> int:
    """Print what there is to do, and what that takes; returns the exit code. Raises UserError."""
    if not isinstance(chosen, DeclaredStudy):
        raise UserError(f"study {chosen.name} is one measurement: it has no plan")
    scale, folder = options.scale or chosen.scale, options.out / chosen.name
    rows = chosen.to_do(scale, folder, options.overrides, share)
    costs, device = here(Results()["records"], Results()["parameters"], Results()["bench"])
    title, settings = f"{chosen.title}, scale {scale}, on {device}", {(name,): own for name, own in rows.items()}
    print(plan(title, ["Setting"], settings, costs))
    least, most = chosen.file.plan(chosen.name, scale).trials
    if most:
        print(f"- The searches come on top: {least:,} to {most:,} trials, each a part of a run, less those there are.")
    return 0


def study(options: argparse.Namespace) -> int:
    """Carry out what is missing, then write pages and figures; returns the exit code. Raises UserError."""
    chosen, folder, share = STUDIES[options.study], options.out / options.study, parse_share(options.share)
    if options.plan:
        return show(chosen, options, share)
    ended = chosen.run(options.scale or chosen.scale, folder, options.overrides, share)
    if not is_worker():  # their command does it, once for all
        pages = chosen.pages(folder)
        written = [path for page in pages for path in page.write_texts(options.tables)]
        print(*written, *write_figures(pages, options.figures), sep="\n")
    print(ended)
    return ended.code


main = Command("study", __doc__, study)
main.add_argument("study", choices=list(STUDIES))
main.add_argument("--scale", choices=["paper", "small", "mini"], help="default: mini, or the only one")
main.add_argument("--plan", action="store_true", help="only show what there is to do, and what that takes")
main.add_argument("--share", default="1/1", metavar="K/M", help="the K-th of M parts of the settings")
main.add_jobs()
main.add_results("tables", "figures", out="studies")
main.add_argument("overrides", nargs="*", help="as for run.py")

if __name__ == "__main__":
    main.start()

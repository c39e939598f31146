"""Carry out a study of the paper: the runs that are missing, then its table and its figures.

    python -m scripts.study scaling [--scale mini|small|paper] [--share 1/2] [train.device=cuda ...]

Overrides, as for run.py, apply to every run of the study and change what is recorded. A run with a record is not
repeated, so an interrupted study continues where it stopped. --share 2/4 takes the second of four parts of the
settings, for several machines or GPUs. Records go to OUT/<study>/; then the study's pages and figures are written, as
by `make tables` and `make figures`. Exit code 1 if runs diverged or ran out of memory (see their records), 2 for a
wrong argument or if a record was left out as unreadable or inconsistent, 130 after an interruption.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir

from experiments.config import CONFIGS, TOLD, explain, legible
from experiments.errors import UserError
from experiments.record import left_out, replace_file
from experiments.stopping import stoppable
from experiments.studies import STUDIES
from experiments.studies.base import Study
from scripts.making import save_drawings


def parse_share(text: str) -> tuple[int, int]:
    """Parse K/M, 1 <= K <= M. Raises UserError."""
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UserError(f"--share {text}: want K/M, the K-th of M parts, such as 2/4")
    return int(part), int(parts)


def show(study: Study, folder: Path, tables: Path, figures: Path) -> list[Path]:
    """Write the study's pages and figures; returns their paths. Raises UserError."""
    written = []
    for page in study.pages(folder):
        for file, text in page.texts.items():
            replace_file(tables / file, text.encode())
            written.append(tables / file)
        written += save_drawings(page, figures)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument(
        "--scale", choices=["paper", "small", "mini"], help="default: mini, or paper for a study of that scale only"
    )
    parser.add_argument("--share", default="1/1", metavar="K/M", help="the K-th of M parts of the settings")
    parser.add_argument("--out", type=Path, default=Path("results/studies"), metavar="FOLDER")
    parser.add_argument("--tables", type=Path, default=Path("results/tables"), metavar="FOLDER")
    parser.add_argument("--figures", type=Path, default=Path("results/figures"), metavar="FOLDER")
    parser.add_argument("overrides", nargs="*", help="as for run.py")
    options = parser.parse_intermixed_args(arguments)
    failed = []
    with left_out() as problems:
        try:
            share = parse_share(options.share)
            scale = options.scale or STUDIES[options.study].scale
            study, folder = STUDIES[options.study], options.out / options.study
            with initialize_config_dir(str(CONFIGS), version_base="1.3"), legible():
                failed = study.run(scale, folder, options.overrides, share)
            print(*show(study, folder, options.tables, options.figures), sep="\n")
        except TOLD as error:
            problems.append(explain(error))
    sys.stderr.writelines(f"study: {problem}\n" for problem in [*failed, *problems])
    return 2 if problems else 1 if failed else 0


if __name__ == "__main__":
    with stoppable("study"):
        sys.exit(main())

"""Carry out a study of the paper: the runs that are missing, then its table and its figures.

    python -m scripts.study scaling [--scale mini|small|paper] [--share 1/2] [train.device=cuda ...]

Overrides, as for run.py, hold for every run of the study and change what is recorded. What has its record is not run
again, so an interrupted study goes on where it stopped; --share 2/4 takes the second of four parts of its settings, for
several machines or GPUs. Records go to OUT/<study>/; its pages and figures are then written, as `make tables` and
`make figures` do for all. Exit code 1 if runs diverged or ran out of memory, as their records tell, 2 where something
asked for is wrong or a record is left out, since it cannot be read or does not agree with itself, 130 after an
interruption.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir

from experiments.command import stoppable
from experiments.config import CONFIGS, TOLD, explain, legible
from experiments.errors import UserError
from experiments.record import left_out, replace_file
from experiments.studies import STUDIES, pages
from experiments.studies.sweep import Sweep


def parse_share(text: str) -> tuple[int, int]:
    """K/M, 1 <= K <= M. Raises UserError."""
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UserError(f"--share {text}: want K/M, the K-th of M parts, such as 2/4")
    return int(part), int(parts)


def carry_out(name: str, scale: str, out: Path, share: tuple[int, int], overrides: Sequence[str]) -> list[str]:
    """Run what is missing; returns what failed. Raises UserError."""
    study, folder = STUDIES[name], out / name
    if isinstance(study, Sweep):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"), legible():
            return study.run(scale, folder, overrides, share)
    if overrides or share != (1, 1):
        raise UserError(f"study {name} is one measurement: it takes neither overrides nor --share")
    study.run(scale, folder)
    return []


def show(name: str, folder: Path, tables: Path, figures: Path) -> list[Path]:
    """Write the study's pages and figures; returns their paths. Raises UserError."""
    study, written = STUDIES[name], []
    reports = study.reports(folder)
    for file, text in pages.texts(study, reports).items():
        replace_file(tables / file, text.encode())
        written.append(tables / file)
    return written + pages.draw(study, reports, figures)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--scale", choices=["paper", "small", "mini"], help="default: mini, where there is that")
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
            failed = carry_out(options.study, scale, options.out, share, options.overrides)
            folders = options.out / options.study, options.tables, options.figures
            print(*show(options.study, *folders), sep="\n")
        except TOLD as error:
            problems.append(explain(error))
    sys.stderr.writelines(f"study: {problem}\n" for problem in [*failed, *problems])
    return 2 if problems else 1 if failed else 0


if __name__ == "__main__":
    with stoppable("study"):
        sys.exit(main())

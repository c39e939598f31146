"""What the commands share that make pages and pictures of all records."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from experiments.errors import UserError
from experiments.record import left_out
from experiments.report.page import Page
from experiments.style import save_all


def options(description: str, folders: Mapping[str, tuple[str, str]]) -> ArgumentParser:
    """A command line of folders: name -> (default, what is there)."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    for name, (default, what) in folders.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(default), metavar="FOLDER", help=what)
    return parser


def make(command: str, build: Callable[..., Iterable[Path]], options: Namespace) -> int:
    """Build, and print the paths of what was written and, on stderr, what is wrong; returns the exit code."""
    with left_out() as problems:
        try:
            print(*build(**vars(options)), sep="\n")
        except UserError as error:
            problems.append(str(error))
    sys.stderr.writelines(f"{command}: {problem}\n" for problem in problems)
    return 2 if problems else 0


def save_drawings(page: Page, out: Path) -> list[Path]:
    """Write the figures of a page; returns their paths. Raises RecordError."""
    return [path for stem, figure in page.drawings.items() for path in save_all(figure, out, stem)]

"""What the commands that make pages and figures have in common."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from experiments.errors import UserError
from experiments.record import left_out
from experiments.report.page import Page
from experiments.style import save_all


def options(description: str, folders: Mapping[str, tuple[str, str]]) -> ArgumentParser:
    """A parser with an option per folder. folders: name -> (default, help)."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    for name, (default, what) in folders.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(default), metavar="FOLDER", help=what)
    return parser


def make(command: str, build: Callable[..., Iterable[Path]], options: Namespace) -> int:
    """Call `build` with the options; print the paths that it wrote and, on stderr, problems. Returns the exit code."""
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

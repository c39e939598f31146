"""What the commands share that make pages and pictures of all records."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

from experiments.errors import UserError
from experiments.record import left_out


def make(command: str, build: Callable[..., Iterable[Path]], options: Namespace) -> int:
    """Build, and print the paths of what was written and, on stderr, what is wrong; returns the exit code."""
    with left_out() as problems:
        try:
            print(*build(**vars(options)), sep="\n")
        except UserError as error:
            problems.append(str(error))
    sys.stderr.writelines(f"{command}: {problem}\n" for problem in problems)
    return 2 if problems else 0

"""A command: its options, how it tells what is wrong, and how it ends."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from experiments.errors import UserError
from experiments.record import left_out
from experiments.typed import user_path
from fourierft import FourierError


class Command(argparse.ArgumentParser):
    """The options of a command; its help is the docstring of its module."""

    def __init__(self, name: str, text: str | None):
        super().__init__(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.name = name

    def add_assets(self) -> None:
        """--assets, the folder of models/ and datasets/; by default what FOURIERFT_ASSETS names."""
        root, about = os.environ.get("FOURIERFT_ASSETS") or None, "has datasets/ (default: FOURIERFT_ASSETS)"
        self.add_argument("--assets", type=user_path, default=root, metavar="FOLDER", help=about)

    def carry_out(
        self, work: Callable[[argparse.Namespace], int | None], arguments: Sequence[str] | None = None
    ) -> int:
        """Do `work` with the options in `arguments` (default: the command line's); returns the exit code.

        2 after a UserError or a FourierError, or where a record was left out, each told in one message on stderr; else
        what `work` returns, where None is 0.
        """
        options, code = self.parse_intermixed_args(arguments), None
        with left_out() as problems:
            try:
                code = work(options)
            except (UserError, FourierError) as error:
                problems.append(str(error))
        sys.stderr.writelines(f"{self.name}: {problem}\n" for problem in problems)
        return 2 if problems else code or 0


@contextmanager
def stoppable(command: str) -> Iterator[None]:
    """SIGTERM, which batch systems and containers send, interrupts the context as Ctrl-C does.

    An interruption ends the process with one line in place of a traceback, and exit code 130.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(f"{command}: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)

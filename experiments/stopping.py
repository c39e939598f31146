"""How a command ends that is told to stop, by Ctrl-C or, as batch systems and containers do, by SIGTERM."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stoppable(command: str) -> Iterator[None]:
    """SIGTERM interrupts what runs in the context, as Ctrl-C does; then one line without a traceback, exit code 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(f"{command}: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)

"""What SIGINT and SIGTERM do: they end a command with one line, and wait for code that cannot be left half done."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that arrive in the context act at its end.

    For calls, of less than a second, into a library that does not stand KeyboardInterrupt at any line: it raises some
    other error from its cleanup, which would be taken for the cause.
    """
    if threading.current_thread() is not threading.main_thread():  # signals interrupt the main thread alone
        yield
        return
    arrived: list[int] = []
    before = {each: signal.signal(each, lambda number, _: arrived.append(number)) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for each in arrived:
            signal.raise_signal(each)

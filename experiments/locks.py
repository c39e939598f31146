"""Locks between processes that would damage each other's files. A lock ends with its process, however that ends."""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from experiments.errors import UserError


class Held(UserError):
    """Another process holds what is asked for; it may be had later."""


@contextmanager
def held(path: Path, remedy: str) -> Iterator[None]:
    """Hold the lock file `path` within the context, and then remove it; one left by a dead process is no lock.

    Raises Held if another process holds it, with that process and the remedy; UserError if it cannot be created.
    """
    try:
        file = _open(path, remedy)
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error.strerror or error}); name a folder that can be") from error
    with file:
        file.truncate(0)
        file.write(f"process {os.getpid()} of {platform.node()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _open(path: Path, remedy: str) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = open(path, "a+")  # noqa: SIM115 (open for as long as it is held)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another process"
            file.close()
            raise Held(f"{path.with_suffix('')} is in use by {holder}: {remedy}") from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # removed by its holder in the meantime: nobody else would see this one

"""Atomic files, and records as such files: how they are written, read and found."""

import functools
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from experiments.record.document import Document, RecordError
from experiments.record.run import Record
from experiments.typed import faults

Kind = TypeVar("Kind", bound=Document)


class LeftOut(UserWarning):
    """A file that `find` left out, and why."""


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: an interruption leaves the older file as it was.

    Raises RecordError (no space, no permission, not a folder): names the path and the remedy.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        remedy = "make room there or name another folder"
        raise RecordError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error


def check_writable(folder: Path, key: str) -> None:
    """Create `folder` and check that files can be written there. Raises RecordError with `key` and the remedy."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or error
        raise RecordError(f"{key}: {folder} cannot be written to ({reason}); name another folder") from error


def replace_lines(path: Path, rows: Iterable[Any], ascii_only: bool = True) -> None:
    """Write JSON lines atomically, one per row. ascii_only=False keeps letters beyond ASCII legible.

    Raises RecordError.
    """
    replace_file(path, "".join(f"{json.dumps(row, ensure_ascii=ascii_only)}\n" for row in rows).encode())


def write(record: Document, path: Path) -> None:
    """Write a record of any kind atomically as JSON; a list of numbers takes one line. Raises RecordError."""
    text = record.model_dump_json(by_alias=True, indent=2)
    text = re.sub(r"\[\n([-+.\deE,\s]+)\n\s*\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    _parse(text, path, type(record))
    replace_file(path, f"{text}\n".encode())


def read(path: Path, kind: type[Kind] = Record) -> Kind:
    """Read one record: a run's, or one of another kind.

    Raises RecordError for a file that cannot be read, is no record, contradicts itself or belongs to another path: with
    the file, each wrong field and its value.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error}); restore the file or remove it") from error
    return _parse(text, path, kind)


def _parse(text: str, path: Path, kind: type[Kind]) -> Kind:
    remedy = "Move the file away, or make it again (force=true, --force)"
    try:
        found = _validated(text, kind)
    except ValueError as error:  # ValidationError is one
        wrong = faults(error) if isinstance(error, ValidationError) else f"invalid JSON: {error}"
        raise RecordError(f"{path}: not a sound record: {wrong}. {remedy}") from error
    if not Path(path).absolute().as_posix().endswith(f"/{found.place}"):
        raise RecordError(f"{path}: holds what belongs to {found.place}. {remedy}")
    return found


@functools.lru_cache(maxsize=2048)  # a table and the studies behind it read the same files, some twenty times
def _validated(text: str, kind: type[Kind]) -> Kind:
    return kind.model_validate(from_json(text, allow_inf_nan=False))


def find(root: Path, kind: type[Kind] = Record) -> list[Kind]:
    """Every valid record below `root`, sorted by path; none if there is no such folder.

    Warns LeftOut of every file that `read` refuses, and of a second copy of a record; see `left_out`.
    """
    root, found = Path(root), {}
    for path in sorted(root.rglob("*.json"), key=lambda path: path.relative_to(root).as_posix()):
        try:
            record = read(path, kind)
            if record.identity in found:
                raise RecordError(f"{path}: {root} holds another copy of {record.place}. Remove one of the two")
            found[record.identity] = record
        except RecordError as error:
            warnings.warn(LeftOut(f"left out: {error}"), stacklevel=2)
    return list(found.values())


@contextmanager
def left_out() -> Iterator[list[str]]:
    """Within the context, collect the messages of LeftOut warnings in a list, each once, instead of showing them."""
    messages: list[str] = []

    def collect(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if category is not LeftOut:
            show(message, category, *where)
        elif str(message) not in messages:
            messages.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", LeftOut)
        show, warnings.showwarning = warnings.showwarning, collect
        yield messages

"""The replies of judges in an append-only file, so that no request is paid for twice."""

import codecs
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt

from experiments.errors import UserError
from experiments.lines import Line, sealed, unsealed
from experiments.locks import held
from experiments.record import replace_lines

Messages = Sequence[dict[str, str]]


class Reply(Line):
    """One reply of an endpoint. asked: the requested model; model, system_fingerprint: as the endpoint reports them."""

    key: str
    asked: str
    model: str | None
    system_fingerprint: str | None
    content: str
    finish_reason: str | None
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt
    tstamp: float


def content_key(
    model: str, messages: Messages, temperature: float, max_tokens: int, revision: str | None = None
) -> str:
    """SHA-256 of a request. revision: the user's name for the version of the model, None for none."""
    request = {"model": model, "messages": list(messages), "temperature": temperature, "max_tokens": max_tokens}
    if revision is not None:
        request["revision"] = revision
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class Cache:
    """Replies by `content_key`, in memory and in the file `path`, one per line. Safe to share between threads.

    Raises UserError for a file that cannot be read or written, or is damaged. A last line that an interruption cut off
    is dropped.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._lock = threading.Lock()
        self._replies = {reply.key: reply for reply in self._read()}

    def get(self, key: str) -> Reply | None:
        """The reply to a request, or None."""
        return self._replies.get(key)

    def add(self, reply: Reply) -> None:
        """Keep a reply; it is on disk when this returns."""
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "ab") as file:
                    file.write(f"{json.dumps(_row(reply))}\n".encode())
            except OSError as error:
                raise UserError(f"{self.path}: cannot be written ({error}); make room, or give --cache FILE") from error
            self._replies[reply.key] = reply

    def _read(self) -> list[Reply]:
        if not self.path.exists():
            return []
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error}); give another --cache FILE") from error
        lines, replies = content.removeprefix(codecs.BOM_UTF8).split(b"\n"), []
        for number, line in enumerate(lines, 1):
            try:
                replies += [Reply.model_validate(unsealed(line))] if line.strip() else []
            except ValueError as error:
                if number < len(lines):
                    remedy = "remove the line, and it is asked for again"
                    raise UserError(f"{self.path}, line {number}: no reply of a judge, or damaged; {remedy}") from error
        if lines[-1]:  # cut off, even if only its newline is missing
            replace_lines(self.path, map(_row, replies))
        return replies


def _row(reply: Reply) -> dict[str, Any]:
    return sealed(reply.model_dump())


@contextmanager
def opened(path: Path) -> Iterator[Cache]:
    """The cache in `path`, locked: two processes would pay for the same replies. Raises UserError."""
    with held(path.with_name(f"{path.name}.lock"), "wait until it has ended, or give another --cache FILE"):
        yield Cache(path)

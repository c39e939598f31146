"""Files of lines by users and other programs: lines of text, and lines of JSON checked against a type."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from experiments.errors import UserError
from experiments.record import Part, replace_lines
from experiments.typed import faults


class Line(Part):
    """Base of the content of a line. KEY: no two lines of a file agree in all of these fields; none if it is empty."""

    KEY: ClassVar[tuple[str, ...]] = ()


Kind = TypeVar("Kind", bound=Line)


def text_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 file, with or without a byte-order mark; only \\n and \\r\\n end a line.

    Raises UserError: the file, the line and the remedy.
    """
    try:
        content = Path(file).read_bytes()
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error}); name another file") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {line}: cannot be read ({error}); save the file in UTF-8") from error
    return lines if lines[-1] else lines[:-1]


def read_lines(file: Path, kind: type[Kind]) -> list[Kind]:
    """The lines of `file`, in order, without empty ones.

    Raises UserError: the file, the line, the wrong field and its value, and the remedy.
    """
    found: dict[tuple, Kind] = {}
    for number, line in enumerate(text_lines(file), 1):
        if not line.strip():
            continue
        try:
            one = kind.model_validate_json(line)
        except ValidationError as error:
            wrong = faults(error, "the line")
            allowed = ", ".join(kind.model_fields)
            raise UserError(f"{file}, line {number}: {wrong}. Correct the line; its fields are {allowed}") from error
        values = tuple(getattr(one, name) for name in kind.KEY) or (number,)
        if values in found:
            same = ", ".join(f"{name} {value!r}" for name, value in zip(kind.KEY, values, strict=True))
            raise UserError(f"{file}, line {number}: {same} stands on a line before it; remove one of the two")
        found[values] = one
    if not found:
        raise UserError(f"{file}: holds no line; fetch it anew or name another file")
    return list(found.values())


def write_lines(file: Path, lines: Iterable[Line]) -> None:
    """Write the lines atomically, for `read_lines`. Raises RecordError."""
    replace_lines(file, (line.model_dump() for line in lines))


def sealed(row: dict[str, Any]) -> dict[str, Any]:
    """A row for a line of JSON, with a last field that reveals damage: the first 16 hex digits of its SHA-256."""
    return {**row, "sha256": hashlib.sha256(json.dumps(row).encode()).hexdigest()[:16]}


def unsealed(line: str | bytes) -> dict[str, Any]:
    """The row of a line, `sealed` or without a seal. Raises ValueError if it is damaged."""
    row = from_json(line)
    if not isinstance(row, dict):
        raise ValueError("it is no object")
    seal = row.pop("sha256", None)
    if seal is not None and sealed(row)["sha256"] != seal:
        raise ValueError("its text is not the one that was written")
    return row

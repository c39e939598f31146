"""Files of a JSON object a line, each line checked against a type."""

import reprlib
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, ValidationError

from experiments.errors import UserError
from experiments.typed import Typed


class Line(Typed):
    """Base of what stands on a line: closed to unknown fields, and nothing is coerced."""

    model_config = ConfigDict(strict=True)


Kind = TypeVar("Kind", bound=Line)


def read_lines(file: Path, kind: type[Kind], *key: str) -> list[Kind]:
    """Every line of `file`, in order; empty lines are passed over. No two may agree in all fields of `key`.

    Raises UserError: file, line, the wrong field and its value, and the remedy.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8").split("\n")  # splitlines knows more ends of lines
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); name another file") from error
    found: dict[tuple, Kind] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = kind.model_validate_json(line)
        except ValidationError as error:
            wrong = "; ".join(_describe(item) for item in error.errors())
            allowed = ", ".join(kind.model_fields)
            raise UserError(f"{file}, line {number}: {wrong}. Mend the line; its fields are {allowed}") from error
        values = tuple(getattr(one, name) for name in key)
        if values in found:
            same = ", ".join(f"{name} {value!r}" for name, value in zip(key, values, strict=True))
            raise UserError(f"{file}, line {number}: {same} stands on a line before it; remove one of the two")
        found[values] = one
    if not found:
        raise UserError(f"{file}: holds no line; fetch it anew or name another file")
    return list(found.values())


def _describe(item: dict) -> str:
    """One of pydantic's errors: the field, what is wrong, and its value."""
    field = ".".join(map(str, item["loc"])) or "the line"
    value = "" if isinstance(item["input"], dict) else f", got {reprlib.repr(item['input'])}"
    return f"{field}: {item['msg']}{value}"

"""Names for people of models, methods, data sets and the like, from configs/names.yaml: what figures show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from experiments.errors import UserError
from experiments.record import ROOT
from experiments.typed import faults
from experiments.yaml_files import read_yaml

OURS = "fourierft"


def read_names(path: Path) -> dict[str, str]:
    """Identifier -> name. Raises UserError: the file, the identifier and what is wrong with its name."""
    try:
        return TypeAdapter(dict[str, str]).validate_python(read_yaml(path))
    except ValidationError as error:
        raise UserError(f"{path}: a name is one line of text ({faults(error)}); put it in quotes") from error


NAMES = read_names(ROOT / "configs" / "names.yaml")


def name(identifier: str) -> str:
    """The name for people; the identifier itself where it has none, as a model or a data set of one's own."""
    return NAMES.get(identifier, identifier)


def sized(method: str, settings: Mapping[str, Any]) -> str:
    """The method with its settings: "LoRA r=8", "FourierFT all-linear n=333"."""
    return " ".join([name(method), *sorted(_setting(key.removeprefix("settings."), settings[key]) for key in settings)])


def _setting(key: str, value: Any) -> str:
    if isinstance(value, dict):  # a pattern
        return f"{name(key)} of {len(value)} modules"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return NAMES.get(f"{key}={shown}", f"{name(key)}={shown}")

"""YAML files of the suite and of its users: read as the configuration is, or refused by name and line."""

from pathlib import Path
from textwrap import shorten
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from experiments.errors import UserError


def read_yaml(path: Path) -> dict[Any, Any]:
    """The table that a file holds, {} for an empty file; interpolations stay as they are written.

    Raises UserError: the file, the line and what is wrong with it.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        said = shorten(str(error), 400) or type(error).__name__
        raise UserError(f"{path}: cannot be read as YAML ({said}); mend it or restore it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a list where a table of keys belongs; mend it or restore it")
    return content

"""YAML files of the suite and of its users, read as Hydra does."""

from pathlib import Path
from textwrap import shorten
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from experiments.errors import UserError


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in a file, {} if it is empty, with unresolved interpolations.

    Raises UserError: the file, the line and what is wrong.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        said = shorten(str(error), 400) or type(error).__name__
        raise UserError(f"{path}: cannot be read as YAML ({said}); mend it or restore it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a list where a table of keys belongs; mend it or restore it")
    return content

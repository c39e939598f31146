"""The house: imports run one way, and a file holds one idea."""

import ast

import pytest

from tests.conftest import ROOT

# From the ground up: a package imports from those before it, and from its own line.
FLOORS = [
    {"fourierft"},
    {"examples"},
    {"errors", "typed", "yaml_files", "processes", "progress", "interrupts", "locks", "work"},
    {
        "record",
        "lines",
        "trials",
        "results",
        "paper",
        "names",
        "style",
        "beside",
        "sharding",
        "command",
        "cluster",
        "settings",
        "tracking",
        "metrics",
        "recipes",
        "composing",
    },
    {"mini", "models", "data", "methods"},
    {"measure", "judging", "serving"},
    {
        "tasks",
        "checkpoints",
        "draft",
        "earlier",
        "history",
        "callbacks",
        "config",
        "card",
        "cells",
        "training",
        "pipeline",
        "steps",
        "pretraining",
        "search",
        "parameters",
    },
    {"report"},
    {"studies"},
    {"scripts", "run"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FOLDERS = ("fourierft", "examples", "experiments", "scripts")
FILES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
FILES.append(ROOT / "run.py")


def room(words):
    """The part of the house that a module's path belongs to; None for what is not of the house."""
    first, *rest = words
    if first == "experiments":
        return rest[0] if rest else None
    return first if first in FLOOR else None


def imported(path):
    """The modules of the project that a file imports, wherever it does, each as its words."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            words = node.module.split(".")
            yield from ([*words, alias.name] for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    own = room(path.relative_to(ROOT).with_suffix("").parts)
    for words in imported(path) if own and own != "__init__" else ():
        other = room(words)
        assert other is None or FLOOR[other] <= FLOOR[own], f"{own} imports {'.'.join(words)}, which stands above it"


def test_no_file_is_longer_than_300_lines():
    assert {str(path.relative_to(ROOT)) for path in FILES if len(path.read_text().splitlines()) > 300} == set()

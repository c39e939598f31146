"""The suite, the scripts and the examples import only what the library exports."""

import ast
from pathlib import Path

import pytest

import fourierft

ROOT = Path(__file__).parents[2]
FOLDERS = ("experiments", "scripts", "examples")
FILES = [ROOT / "run.py", *sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))]
MEASURES = ROOT / "experiments" / "measure"
MEASURE_THE_PARTS = MEASURES / "parts.py", MEASURES / "serving.py"  # of a step, and of a bank


def imported(path):
    """What a file imports from fourierft: names, and modules with a dot at the end."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name + "." for alias in node.names if alias.name.split(".")[0] == "fourierft")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fourierft":
            yield from (alias.name if node.module == "fourierft" else node.module + "." for alias in node.names)


def test_every_file_is_seen():
    assert ROOT / "experiments" / "methods" / "fourierft.py" in FILES
    assert "fourierft.plan." in set(imported(MEASURE_THE_PARTS[0]))


@pytest.mark.parametrize(
    "path", [path for path in FILES if path not in MEASURE_THE_PARTS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_project_imports_what_the_library_exports(path):
    assert set(imported(path)) <= {*fourierft.__all__, "fourierft.", "fourierft.peft."}


def test_what_is_exported_is_there():
    assert all(hasattr(fourierft, name) for name in fourierft.__all__)

"""docs/extending.md, done: what stands there is applied to a copy of the project, and its commands are run."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "extending.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
COPIED = "configs", "experiments", "fourierft", "scripts", "tests", "run.py", "pyproject.toml"


def blocks(section):
    """(language, file, text) of each fenced block."""
    return re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)


def changed(text, hunk):
    """The text where the lines before a change, each or its beginning there once, have become those after it."""
    before = [line[1:] for line in hunk if line[:1] in " -"]
    after = [line[1:] for line in hunk if line[:1] in " +"]
    old, new = "\n".join(before), "\n".join(after)
    assert text.count(old) == 1, f"stands {text.count(old)} times in it: {old}"
    return text.replace(old, new)


def apply(section, root):
    """Carry out a section in a copy of the project; the files that it touches."""
    touched = []
    for language, file, text in blocks(section):
        if language == "diff":
            for part in re.split(r"^--- .*\n(?=\+\+\+ )", text, flags=re.MULTILINE)[1:]:
                head, *hunks = re.split(r"^@@.*\n", part, flags=re.MULTILINE)
                path = root / head.split()[1].removeprefix("b/")
                for hunk in hunks:
                    path.write_text(changed(path.read_text(), hunk.splitlines()))
                touched.append(path)
        elif file.startswith(">>"):
            path = root / file.removeprefix(">>")
            path.write_text(path.read_text() + text)
            touched.append(path)
        elif file:
            path = root / file
            assert not path.exists(), f"{file} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            touched.append(path)
    return touched


@pytest.fixture
def copy(tmp_path):
    """A copy of the project; results/ and the rest are the project's own."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    for name in ("results", "README.md", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_what_the_page_says_fits_the_code_as_it_is(copy):
    assert len(SECTIONS) == TEXT.count("](#") == 7
    for section in SECTIONS:
        for path in apply(section, copy):
            if path.suffix == ".py":
                compile(path.read_text(), path, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_what_the_page_says_works(section, copy):
    apply(section, copy)
    environment = os.environ | {"PYTHONPATH": str(copy), "TRITON_INTERPRET": "0", "FOURIERFT_ASSETS": ""}
    commands = [text for language, _, text in blocks(section) if language == "bash"]
    assert commands
    for line in "".join(commands).splitlines():
        line = re.sub(r"^python\b", shlex.quote(sys.executable), line)
        done = subprocess.run(line, shell=True, cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"

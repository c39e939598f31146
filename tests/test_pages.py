"""README.md and docs/: their numbers are those of the records, their links lead somewhere, their commands are right."""

import importlib
import os
import re
import shlex
import subprocess

import pytest
import torch
from torch import nn

import fourierft
import fourierft.peft
import run
from experiments.composing import expand
from experiments.config import load
from experiments.errors import UserError
from experiments.report.passages import MARKS, filled
from scripts import search, tables
from tests.conftest import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")] + DOCS
LINKED = [*PAGES, ROOT / "results" / "README.md", ROOT / "contrib" / "peft" / "README.md"]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_TEXT = "task.data=reviews.csv task.inputs='[text]' task.label=stars model.hub=distilbert/distilbert-base-uncased"
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
# A number with the unit of a measurement. Counts, sizes and settings are none.
MEASURED = re.compile(r"\d ?(?:%|points?|MiB|GiB|ms|times|×(?! ?\d))")


def ids(path):
    return str(path.relative_to(ROOT))


def blocks(page, language):
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evidence():
    return tables.Evidence.read(tables.main.parse_args([]))


def test_every_passage_is_what_the_records_give(evidence):
    options = tables.main.parse_args([])
    claims = evidence.claims(options.paper, options.studies)
    pages = [page for page in PAGES if MARKS.search(page.read_text())]
    names = {name for page in pages for _, name, *_ in MARKS.findall(page.read_text())}
    assert names == {"size", "run", "layer", "peft", "stsb", "stsb_few", "cola", "mrpc", "verdicts"}
    for page in pages:
        assert evidence.filled(page, claims) == page.read_text(), f"{page.name}: make tables writes it"


def test_the_readme_is_short_and_has_no_measured_number_of_its_own():
    text = (ROOT / "README.md").read_text()
    own = MARKS.sub("", text)
    assert len(own.splitlines()) <= 115
    assert MEASURED.findall(CODE.sub("", own)) == []
    assert MEASURED.findall(CODE.sub("", text)), "what is looked for is there to be found"


def test_a_mark_that_is_unknown_or_stands_alone_is_named(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- a -->\nold\n<!-- /a -->\n")
    assert filled(page, {"a": lambda: "new\n"}) == "<!-- a -->\n\nnew\n\n<!-- /a -->\n"
    with pytest.raises(UserError, match=r"page.md: no passage is called a; there are b"):
        filled(page, {"b": lambda: ""})
    page.write_text("<!-- a -->\nold\n<!-- /b -->\n")
    with pytest.raises(UserError, match=r"<!-- a --> stands alone"):
        filled(page, {"a": lambda: ""})


# --- links -----------------------------------------------------------------------------------------------------------


def anchors(page):
    """Those of its headings, as GitHub and the site name them."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings}


@pytest.mark.parametrize("page", LINKED, ids=ids)
def test_every_link_leads_to_a_file_and_a_heading(page):
    links = re.findall(r"\]\((?![a-z]+:)([^)\s#]*)(?:#([^)\s]+))?\)", CODE.sub("", page.read_text()))
    assert links or page.name in ("api.md",)
    for path, heading in links:
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not heading or heading in anchors(target), f"{path}#{heading}"


# --- commands --------------------------------------------------------------------------------------------------------


def commands(page):
    """The words of every command in the page's blocks of bash, and of each `make ...` in its text."""
    lines = "".join(blocks(page, "bash")).splitlines() + re.findall(r"`(make [^`<>]+)`", page.read_text())
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check(words):
    """That a command would start: its target or program is there, its options are read, its runs compose."""
    if words[0] == "make":
        alone = {"PATH": os.environ["PATH"]}  # not as a part of the `make test ARGS=...` that runs this
        done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, env=alone, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            if re.match(r"(\S*=\S* )?\.venv/bin/python -m scripts|\.venv/bin/python run\.py", line):
                check(shlex.split(line))
    elif "run.py" in words:
        options = run.main.parse_intermixed_args(words[words.index("run.py") + 1 :])
        runs = expand(options.overrides)
        assert options.multirun or len(runs) == 1
        for overrides in runs:
            load(*overrides)
    elif "-m" in words and (module := words[words.index("-m") + 1]).startswith("scripts."):
        options = importlib.import_module(module).main.parse_intermixed_args(words[words.index("-m") + 2 :])
        if module in ("scripts.search", "scripts.export_peft"):
            for overrides in search.by_method(options.overrides):
                load(*overrides)
    elif words[0].endswith("python") and words[1] != "-m":
        assert (ROOT / words[1]).is_file(), words[1]
    else:
        assert words[:2] == ["pip", "install"] or words[1:3] in (["-m", "pip"], ["-m", "pytest"]), words


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "extending" and commands(page)], ids=ids)
def test_every_command_would_start(page):
    for words in commands(page):
        check(shlex.split(shlex.join(words).replace("FOLDER", str(ROOT)).replace("...", OWN_TEXT)))


@pytest.mark.parametrize(
    "command",
    [
        "make no-such-target",
        "python run.py +exp=glue_rte method.m=5",
        "python run.py +exp=glue_rte seed=0,1",
        "python -m scripts.search --trials 6 +exp=glue_stsb model=minilm_l6 method=lora,magic",
        "python -m scripts.tables --no-such-option",
        "make table7",
        "make study-scaling SCALE=huge",
        "python examples/none.py",
        "rm -r runs",
    ],
)
def test_a_wrong_command_would_be_found(command):
    with pytest.raises((AssertionError, UserError, SystemExit)):
        check(shlex.split(command))


# --- Python ----------------------------------------------------------------------------------------------------------


class Tiny(nn.Module):
    """What the blocks call a model, on four rows of 64 numbers."""

    def __init__(self):
        super().__init__()
        self.query, self.value, self.classifier = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 2)

    def forward(self, x):
        return self.classifier(self.query(x) + self.value(x))

    generate = forward


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=ids)
def test_the_blocks_of_python_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "python"):
        model = Tiny()
        if "Bank" in text:
            config = fourierft.FourierConfig(n=20, scale=1.0, targets=("query",), head=("classifier",))
            for folder in ("adapters/anna", "adapters/ben", "elsewhere/carl"):
                fourierft.save(fourierft.adapt(Tiny(), config), folder)
        try:
            exec(
                compile(text, page, "exec"), {"fourierft": fourierft, "model": model, "batch": {"x": torch.ones(4, 64)}}
            )
        finally:
            fourierft.peft.uninstall()

"""`make docs`: the site is built without a warning, names all of the library, and asks nothing of a network."""

import re
import subprocess
import sys

import pytest

import fourierft
from tests.conftest import ROOT

pytest.importorskip("mkdocs", reason="the extra docs, from Python 3.11")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_tables_and_the_files_that_they_link_to_are_there(site):
    found = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert {"index.html", "layer.html", "results/index.html", "results/tables/bench.html"} < found
    assert "<code>" in (site / "fourierft/grid.py.html").read_text()
    assert (site / "results/figures/study_transfer.png").is_file()


def test_the_reference_has_every_public_name(site):
    headings = set(re.findall(r'<h3 id="fourierft\.(?:\w+\.)*(\w+)"', (site / "api.html").read_text()))
    assert set(fourierft.__all__) <= headings


def test_no_page_fetches_anything_from_elsewhere(site):
    for page in site.rglob("*.html"):
        fetched = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"', page.read_text())
        assert not [one for pair in fetched for one in pair if one.startswith(("http:", "https:", "//"))], page.name

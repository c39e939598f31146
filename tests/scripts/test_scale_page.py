"""What the whole paper takes: counted from the configurations, each run once."""

import pytest

from experiments.studies import STUDIES
from scripts import scale
from scripts.table import TABLES
from tests.conftest import ROOT


def rows(text):
    """Name -> the other cells of the rows of the table."""
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {name: cells for name, *cells in lines[2:]}


def test_runs_are_counted_and_those_of_two_parts_once(monkeypatch, tmp_path):
    monkeypatch.setattr(scale, "TABLES", {"table4": TABLES["table4"], "metamath": TABLES["metamath"]})
    monkeypatch.setattr(scale, "STUDIES", {"curves": STUDIES["curves"], "again": STUDIES["curves"]})
    out = tmp_path / "scale.md"
    places = [word for name in ("records", "studies") for word in (f"--{name}", str(tmp_path / name))]
    assert scale.main([*places, "--out", str(out)]) == 0
    found = rows(out.read_text())
    assert list(found) == [TABLES["table4"].title, STUDIES["curves"].title, "all, each run once"]
    table, study, total = found.values()
    # 52,002 rows of which 1,000 are held out, in batches and epochs of Table 11's.
    assert table[:4] == ["36", "0", "0", "36"] and study[:4] == ["10", "0", "0", "10"] and total[0] == "46"
    # MRPC: 3,668 rows in batches of 32, 120 epochs, two methods by five seeds.
    assert study[4] == f"{-(-3668 // 32) * 120 * 10:,}"
    assert "nothing of these models was timed on a GPU" in out.read_text()


@pytest.mark.slow
def test_the_committed_page_is_what_the_configurations_give(tmp_path):
    out = tmp_path / "scale.md"
    assert scale.main(["--out", str(out)]) == 0
    assert out.read_text() == (ROOT / "results/scale.md").read_text()

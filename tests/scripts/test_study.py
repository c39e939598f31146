"""The command: what is asked for is carried out and shown, and what is wrong is said in one line."""

from pathlib import Path

import pytest

from experiments.studies import STUDIES
from experiments.studies.sweep import Sweep
from experiments.work import Ended
from scripts import study
from tests.conftest import ROOT
from tests.handmade import leave, run


@pytest.fixture
def command(tmp_path):
    """command(...) -> exit code; everything is written below tmp_path."""
    places = [word for name in ("out", "tables", "figures") for word in (f"--{name}", str(tmp_path / name))]
    return lambda *arguments: study.main([*arguments, *places])


def test_runs_are_carried_out_and_shown(monkeypatch, command, tmp_path, capsys):
    asked = []

    def run_one(self, scale, folder, overrides, share):
        asked.append((self.name, scale, tuple(overrides), share))
        made = run(recipe={"lr": 0.1}, rank=(24, 700), scale="mini", init="zeros", n=1000)
        leave(folder / "records", made)
        return Ended(done=1, failed={"a run": "it diverged"}, code=1)

    monkeypatch.setattr(Sweep, "run", run_one)
    assert command("grid", "--share", "2/3", "train.device=cpu") == 1
    assert asked == [("grid", "mini", ("train.device=cpu",), (2, 3))]
    printed = capsys.readouterr()
    *written, summary, reason = printed.out.splitlines()
    assert (summary, reason.strip()) == ("1 of 2 runs done", "failed: a run: it diverged")
    written = [Path(line) for line in written if line]
    assert {path.name for path in written} == {f"study_grid_mini.{kind}" for kind in ("md", "tex", "pdf", "png")}
    assert all(path.exists() for path in written)


def test_a_plan_finds_the_runs_at_the_rates_of_their_searches(command, capsys):
    """Those of a study that is complete, by their records; elsewhere none is there."""
    committed = ["--out", str(ROOT / "results/studies")]
    assert study.main(["grid", "--scale", "small", "--plan", *committed]) == 0
    *_, total, _, _, _, _, trials = capsys.readouterr().out.splitlines()
    assert "16 to 32 trials" in trials
    assert [cell.strip() for cell in total.split("|")[1:6]] == ["all", "12", "12", "0", "0"]
    assert command("grid", "--scale", "small", "--plan") == 0
    *_, total, _, _, _, _, trials = capsys.readouterr().out.splitlines()
    assert "16 to 32 trials" in trials
    assert [cell.strip() for cell in total.split("|")[1:6]] == ["all", "12", "0", "0", "12"]
    assert command("expressive", "--plan") == 2
    assert "one measurement: it has no plan" in capsys.readouterr().err
    assert command("transfer", "--plan", "--scale", "small") == 2
    assert "made of searches alone: it has no plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grid", "--share", "3/2"], "--share 3/2"),
        (["grid", "--share", "1"], "--share 1: want K/M"),
        (["grid", "recipe.rl=1"], "recipe.rl"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(command, capsys, arguments, words):
    assert command(*arguments) == 2
    printed = capsys.readouterr().err
    assert words in printed and printed.startswith("study: ")


def test_the_makefile_has_every_study():
    lines = (ROOT / "Makefile").read_text().splitlines()
    named = next(line.partition(":=")[2].split() for line in lines if line.startswith("STUDIES"))
    assert set(named) == set(STUDIES)

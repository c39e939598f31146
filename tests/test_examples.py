"""Each example runs as a script, prints what it says, and is short enough to be copied from."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NUMBER = r"([\d.]+(?:e[-+]\d+)?)"


@pytest.fixture
def run(tmp_path):
    """run(name) -> what an example, or a script at a path, prints, in tmp_path, where it also leaves its files."""

    def run(name: str | Path) -> str:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
        command = [sys.executable, (ROOT / "examples" / name).with_suffix(".py")]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers for which NUMBER stands in the pattern, wherever it matches."""
    return [float(found) for found in re.findall(pattern.replace("NUMBER", NUMBER), text)]


def test_the_training_loop_learns_and_what_it_saves_is_the_model(run, tmp_path):
    printed = run("training_loop")
    losses = numbers("loss NUMBER", printed)
    assert len(losses) == 4 and losses[-1] < 0.2 < losses[0]
    assert numbers("accuracy NUMBER", printed)[0] > 0.95
    assert numbers("logits differ by NUMBER", printed)[0] < 1e-5
    assert "Count(adapter=2000, " in printed
    assert sum(file.stat().st_size for file in (tmp_path / "build/examples/training_loop").iterdir()) < 100_000


def test_the_trainer_learns_and_saves_an_adapter(run, tmp_path):
    printed = run("trainer")
    scores = numbers("'eval_accuracy': '?NUMBER", printed)
    assert len(scores) == 3 and scores[-1] > 0.7
    (said,) = numbers("NUMBER bytes", printed.replace(",", ""))
    assert (tmp_path / "build/examples/trainer/adapter_model.safetensors").stat().st_size == said < 30_000


def test_peft_is_faster_and_leaner_with_the_library_and_computes_the_same(run):
    printed = run("peft_install")
    theirs, ours = numbers("NUMBER MiB kept", printed)
    assert ours < 0.6 * theirs
    assert numbers("NUMBER times as fast", printed)[0] > 1
    assert 0 < numbers("logits differ by NUMBER", printed)[0] < 1e-5


def test_what_is_saved_loads_by_the_library_and_by_peft(run, tmp_path):
    printed = run("save_push_load")
    files = {file.name for file in (tmp_path / "build/examples/save_push_load").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= files
    assert all(name in printed for name in files)
    differences = numbers("logits differ by NUMBER", printed)
    assert len(differences) == 2 and max(differences) < 1e-5


def test_the_lora_of_a_grid_is_exact_and_one_of_random_positions_tells_what_it_leaves_out(run):
    printed = run("to_lora")
    assert numbers("grid: a LoRA of rank NUMBER, ", printed)[0] <= 2 * 50**0.5
    assert numbers("logits differ by NUMBER", printed)[0] < 1e-4
    assert "Give a rank, e.g. rank=16" in printed
    small, middle, whole = numbers(r"NUMBER% of delta_W left out", printed)
    assert small > 75 > middle > 25 and whole == 0


def test_rows_with_adapters_of_their_own_are_those_of_the_merged_models(run, tmp_path):
    printed = run("many_adapters")
    assert 0 < numbers("merged: logits differ by NUMBER", printed)[0] < 1e-4
    assert "on the device 6 of 100, 22,400 bytes" in printed
    assert len(numbers("adapters: NUMBER ms a batch", printed)) == 2
    assert (tmp_path / "build/examples/many_adapters/all.safetensors").stat().st_size < 400_000


def test_every_example_is_listed_and_short():
    listed = re.findall(r"^\| \[(\w+\.py)\]\(\1\)", (ROOT / "examples" / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [path.name for path in EXAMPLES]
    assert all(30 <= len(path.read_text().splitlines()) <= 60 for path in EXAMPLES)


@pytest.mark.slow
def test_the_notebook_s_cells_print_what_it_shows(run, tmp_path):
    cells = json.loads((ROOT / "examples/idea.ipynb").read_text())["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    (tmp_path / "idea.py").write_text("\n".join("".join(cell["source"]) for cell in cells))
    printed = run(tmp_path / "idea")
    shown = "".join("".join(output.get("text", "")) for cell in cells for output in cell["outputs"])
    assert re.findall(r"Count.*|largest.*|.* bytes,.*", printed) == re.findall(r"Count.*|largest.*|.* bytes,.*", shown)
    before, *after = (
        numbers("accuracy NUMBER, ", printed)
        + numbers("before NUMBER", printed)
        + numbers("PEFT: accuracy NUMBER", printed)
    )
    assert before > 0.8 and after == [before, before]

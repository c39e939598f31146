"""SIGTERM stops a command as Ctrl-C does: a record that says so, one line, exit code 130.

The judge's, whose threads have replies under way, is in test_judge.py.
"""

import os
import runpy
import signal
import sys

import pytest

from experiments import record

COMMANDS = {
    "search": ["+exp=glue_sst2", "model=roberta_mini", "method=lora", "--out", "out"],
    "study": ["scaling", "--out", "out", "--tables", "tables", "--figures", "figures"],
}
QUICK = ["tracking=off", "train.device=cpu", "runs=runs"]


@pytest.fixture
def handlers():
    """Puts back what signals do."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_of_it_is_recorded_as_cancelled(command, monkeypatch, tmp_path, capsys, handlers):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.pipeline.train", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.delitem(sys.modules, f"scripts.{command}", raising=False)
    monkeypatch.setattr(sys, "argv", [command, *COMMANDS[command], *QUICK])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"scripts.{command}", run_name="__main__")
    assert ended.value.code == 130
    assert capsys.readouterr().err.endswith(f"{command}: interrupted; the same command goes on from here\n")
    [left] = tmp_path.rglob("seed*.json")
    assert left.name.endswith(".failed.json") and record.read(left).status == "cancelled"
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".lock"))]

"""make gpu: each stage within its time, nothing that was measured lost, and all of it rehearsed on the CPU."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from experiments import record
from experiments.measure import contestants, workloads
from experiments.measure.bench import Bench
from experiments.measure.micro import Micro
from experiments.studies.memory.footprint import Footprint
from experiments.studies.memory.study import METHODS
from scripts import bench, gpu
from scripts.gpu import Ended, Stage
from tests import forked
from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:delta_W starts out")

SAVED = "bytes saved above those of frozen ≤ 1.01 × input"


def python(code, share=1.0):
    """A stage that runs this code once."""
    return Stage(share, ["timeit", "-n", "1", "-r", "1", code])


def rows(printed):
    """The cells of the lines of the tables of what was printed."""
    return [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]


def gone(process, seconds=10):
    """Whether no such process runs, in at most so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = (Path("/proc") / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # nobody waited for it, but it runs no more
            return True
        time.sleep(0.05)
    return False


def test_without_a_gpu_the_remedy_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "no CUDA device" in said and "make gpu-pack" in said and "--small" in said
    assert not (tmp_path / "out").exists()


def test_a_stage_that_is_none_and_a_folder_that_takes_no_file_are_named(tmp_path, capsys):
    assert gpu.main(["--small", "--stages", "micro,macro", "--out", str(tmp_path)]) == 2
    assert "no stage macro; there are: tests, micro, bench, bank, memory, library" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert gpu.main(["--small", "--out", str(tmp_path / "file")]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_stage_ends_by_itself_or_fails_or_is_stopped_with_all_that_it_started(tmp_path, capsys):
    log = tmp_path / "log"
    assert gpu.run("a", python("print('found 7')").command, 60, log).state == "done"
    assert log.read_text().startswith("found 7\n")
    broken = gpu.run("a", python("raise ValueError('no')").command, 60, log)
    assert (broken.state, broken.said, broken.failed) == ("failed, exit code 1", "ValueError: no", True)
    child = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '600']).pid); time.sleep(600)"
    stopped = gpu.run("a", python(child).command, 3, log)
    assert stopped.state == "stopped at its time" and not stopped.failed
    assert 3 <= stopped.seconds < 3 + gpu.GRACE
    assert log.read_text() == f"{stopped.said}\n" and gone(int(stopped.said))
    assert "found 7" in capsys.readouterr().out


def test_a_stage_that_will_not_end_is_ended_by_force(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "GRACE", 1)
    code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid()); time.sleep(600)"
    stopped = gpu.run("a", python(code).command, 3, tmp_path / "log")
    assert stopped.state == "stopped at its time" and gone(int(stopped.said))


def test_what_a_stage_leaves_of_its_time_goes_to_those_after_it(monkeypatch, tmp_path):
    given, clock = {}, [0.0]

    def run(name, command, seconds, log):
        given[name] = seconds
        clock[0] += {"a": 10.0, "b": 85.0}.get(name, 0.0)
        return Ended(name, "done", 1.0)

    monkeypatch.setattr(gpu, "run", run)
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: clock[0])
    planned = {"a": python("", 1), "b": python("", 3), "c": python("", 1), "d": python("", 1)}
    ended = gpu.stages(["a", "b", "c"], planned, 100 / 60, tmp_path)
    assert given == pytest.approx({"a": 20.0, "b": 67.5, "c": 5.0})
    clock[0] = 0.0
    monkeypatch.setattr(gpu, "run", lambda name, *_: clock.__setitem__(0, 100.0) or Ended(name, "done", 1.0))
    ended = gpu.stages(["d", "c"], planned, 100 / 60, tmp_path)
    assert [one.state for one in ended] == ["done", "no time left"]


def test_every_stage_can_be_started_as_it_stands(tmp_path):
    """The full ones, which need a GPU: tests that are there, and cases of the set."""
    planned = gpu.plan(tmp_path, small=False)
    full, small = workloads.SETS["full"], workloads.SETS["small"]
    assert set(gpu.CASES.split(",")) == set(bench.training(full))
    assert planned["bank"].command[-1] == "bank" and bench.named("bank", full)
    assert gpu.plan(tmp_path, small=True)["bank"].command[-1] in small
    assert all((ROOT / word).exists() for stage in planned.values() for word in stage.command if "tests/" in word)
    assert list(planned) == list(gpu.plan(tmp_path, small=True))


def rehearse(names, out, capsys):
    """Run the small stages as the command does; returns the cells of what it printed."""
    assert gpu.main(["--small", "--stages", ",".join(names), "--out", str(out)]) == 0
    printed = rows(capsys.readouterr().out)
    assert [cells[:2] for cells in printed if cells[0] in names] == [[name, "done"] for name in names]
    return printed


def test_the_rehearsal_measures_and_writes(tmp_path, capsys):
    printed = rehearse(["tests", "micro"], tmp_path, capsys)
    assert "skipped" in (tmp_path / "gpu" / "tests.log").read_text().splitlines()[-1]
    (found,) = record.find(tmp_path / "micro", Micro)
    assert found.complete and ["MULTIPLY_ADDS" in cells for cells in printed].count(True) == 2 * 3


def test_the_bench_of_the_rehearsal_leaves_what_the_targets_are_read_from(tmp_path, monkeypatch):
    monkeypatch.setitem(workloads.SETS, "small", {"layer_768_2048": workloads.Layer(64, 32)})
    monkeypatch.setattr(
        contestants, "CONTESTANTS", {name: contestants.CONTESTANTS[name] for name in ("frozen", "fourierft")}
    )
    command = [word.replace(gpu.MINUTES, "1") for word in gpu.plan(tmp_path, small=True)["bench"].command]
    assert command[0] == "scripts.bench" and bench.main(command[1:]) == 0
    (saved,) = (cells for cells in rows(gpu.report([], tmp_path)) if cells[2:3] == [SAVED] and cells[3] != "—")
    assert saved[0].startswith("layer_768_2048") and saved[3:5] == ["1.000", "reached"]


@pytest.mark.slow
def test_every_stage_of_the_rehearsal_is_done(tmp_path, capsys):
    rehearse(list(gpu.plan(tmp_path, small=True)), tmp_path, capsys)
    assert "5 passed" in (tmp_path / "gpu" / "library.log").read_text()
    assert len(record.find(tmp_path / "bench", Bench)) == 2
    assert [one.method for one in record.find(tmp_path / "studies", Footprint)] == sorted(METHODS)


def test_an_interruption_keeps_what_was_measured_and_says_so(tmp_path):
    """The memory study, stopped after the first of its methods."""
    one = forked.python("-m", "scripts.gpu", "--small", "--stages", "memory,library", "--out", str(tmp_path))
    while "lora: saved MiB" not in one.said()[0] and one.runs():
        time.sleep(0.05)
    os.kill(one.pid, signal.SIGTERM)
    code, rest = one.wait(60), "".join(one.said())
    assert code == 130 and "gpu: interrupted" in rest and "Traceback" not in rest
    assert [cells[:2] for cells in rows(rest) if cells[1] == "interrupted"] == [
        ["memory", "interrupted"],
        ["library", "interrupted"],
    ]
    assert record.read(tmp_path / "studies" / "memory" / "lora.json", Footprint).method == "lora"
    assert "lora: saved MiB" in (tmp_path / "gpu" / "memory.log").read_text()

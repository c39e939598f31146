"""Many runs beside other processes: each is done once, and what one process meets the others are told."""

import os
import signal
import time

import pytest

from experiments import work
from experiments.errors import Diverged, UserError
from experiments.locks import Held
from experiments.work import Awaited, Task, carry_out, left_meanwhile


class OutOfMemoryError(Exception):
    pass


def raising(error):
    def run():
        raise error

    return run


def test_failures_do_not_stop_the_rest_and_the_worst_gives_the_code(capsys):
    done = []
    tasks = [
        Task("one", raising(UserError("recipe.lr=-1:\nno"))),
        Task("two", lambda: done.append(2)),
        Task("three", raising(OutOfMemoryError("as expected"))),
    ]
    ended = carry_out(tasks)
    assert (ended.done, done, ended.code) == (1, [2], 1)
    assert str(ended).splitlines() == [
        "1 of 3 runs done",
        "  failed: one: recipe.lr=-1:; no",
        "  failed: three: as expected",
    ]
    assert "Traceback" not in capsys.readouterr().err
    again = [Task(f"{name} again", raising(Diverged("as expected"))) for name in "ab"]
    assert str(carry_out(again)) == "0 of 2 runs done\n  failed: a again and 1 more: as expected"
    assert carry_out(tasks[:2]).code == 2 and carry_out(tasks[1:2]).code == 0
    assert carry_out(again).code == 1, "a loss that diverges is a result"
    assert carry_out([Task("four", raising(KeyError("unknown")))]).code == 1
    assert "Traceback" in capsys.readouterr().err, "what nobody expects is shown whole"


def test_what_others_hold_comes_after_the_rest_and_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("experiments.work.time.sleep", lambda _: pytest.fail("it waits"))
    order, free = [], iter([False, True])

    def soon():
        order.append("soon")
        if not next(free):
            raise Held("in use by process 1")

    tasks = [Task("soon", soon), Task("never", raising(Held("in use"))), Task("mine", lambda: order.append("mine"))]
    ended = carry_out(tasks)
    assert order == ["soon", "mine", "soon"]
    assert (ended.done, ended.left, ended.code) == (2, ["never"], 0)
    assert str(ended).endswith("left to another process: never")


def test_what_is_needed_is_waited_for(monkeypatch):
    pauses, free = [], iter([False, False, True])
    monkeypatch.setattr("experiments.work.time.sleep", pauses.append)

    def trial():
        if not next(free):
            raise Awaited("in use")

    assert carry_out([Task("trial", trial)]).done == 1
    assert pauses == [work.PAUSE] * 2


# --- workers ---------------------------------------------------------------------------------------------------------


WORKER = """
import os, sys
print("begins with", os.environ["OMP_NUM_THREADS"], "threads,", "GPU", os.environ.get("CUDA_VISIBLE_DEVICES"))
"""


@pytest.fixture
def alone(monkeypatch):
    for name in (work.SINCE, work.WORKER, "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is removed again
        monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_workers_share_the_cores_and_the_gpus(monkeypatch, alone, capsys):
    work.beside(2, ["-c", WORKER], cores=7)
    said = sorted(capsys.readouterr().out.splitlines())
    assert said == [f"[{number}] begins with 3 threads, GPU " for number in (1, 2)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    work.beside(3, ["-c", WORKER], cores=7)
    said = sorted(capsys.readouterr().out.splitlines())
    assert said == [f"[{place + 1}] begins with 5 threads, GPU {gpu}" for place, gpu in enumerate([4, 6, 4])]


def test_an_interruption_ends_the_workers(monkeypatch, alone):
    started, popen = [], work.subprocess.Popen

    def start(*words, **settings):
        started.append(popen(*words, **settings))
        return started[-1]

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.work.subprocess.Popen", start)
    monkeypatch.setattr("experiments.work.threading.Thread.join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work.beside(2, ["-c", "import time; time.sleep(60)"], cores=2)
    assert [worker.poll() for worker in started] == [-signal.SIGTERM] * 2


def test_a_failure_counts_for_the_workers_of_its_command_alone(alone, monkeypatch, tmp_path):
    failed = tmp_path / "seed0.failed.json"
    assert not left_meanwhile(failed)
    failed.touch()
    assert not left_meanwhile(failed), "a command of its own tries it again"
    for since, known in ((time.time() - 60, True), (time.time() + 60, False)):
        monkeypatch.setenv(work.SINCE, str(since))
        assert left_meanwhile(failed) is known
    os.remove(failed)
    assert not left_meanwhile(failed)


def test_a_command_with_jobs_sums_up_what_its_workers_did(monkeypatch, alone, capsys):
    """The command itself goes through the runs as well, finds them done, and is no worker."""
    from scripts import study

    called = []
    monkeypatch.setattr("experiments.work.beside", lambda *given: called.append(given))
    monkeypatch.setattr(study.main, "work", lambda options: called.append(work.is_worker()))
    assert study.main(["grid", "--jobs", "2"]) == 0
    assert called == [(2, ["-m", "scripts.study", "grid", "--jobs", "2"], called[0][2]), False]
    monkeypatch.setenv(work.WORKER, "0")
    assert study.main(["grid", "--jobs", "2"]) == 0
    assert called[2:] == [True], "a worker starts none"
    assert study.main(["grid", "--jobs", "0"]) == 2 and "--jobs 0: want a number" in capsys.readouterr().err

"""A lock is held by one process at a time, says by whom, and ends with that process."""

import os
import signal
import subprocess
import sys

import pytest

from experiments.errors import UserError
from experiments.locks import held

HOLD = "import sys; from pathlib import Path; from experiments.locks import held\n"
HOLD += "with held(Path(sys.argv[1]), 'wait'): print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path/run.lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_is_there(tmp_path, holder):
    told = rf"run is in use by process {holder.pid} of .*: wait for it"
    with pytest.raises(UserError, match=told), held(tmp_path / "run.lock", "wait for it"):
        pass


def test_a_lock_of_a_dead_process_is_none(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run.lock").exists()
    with held(tmp_path / "run.lock", "wait"):
        pass


def test_a_lock_leaves_nothing_behind_and_can_be_taken_again(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), held(tmp_path / "new" / "run.lock", "wait"):
            1 / 0  # noqa: B018
    assert not list((tmp_path / "new").iterdir())


def test_a_place_that_cannot_hold_a_lock_is_named(tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "run.lock"
    with pytest.raises(UserError, match=r"run\.lock: cannot be locked .*name a folder"), held(place, "wait"):
        pass

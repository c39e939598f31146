"""Many runs, carried out beside other processes that carry out the same ones.

Nothing shares the runs out. Every process goes through all of them, and skips those that have their record and those
that another process holds (by a lock, which ends with its process). So processes can be added and killed at any time,
on one machine or, where they see the same files, on several.
"""

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments import processes
from experiments.errors import Diverged, UserError
from experiments.locks import Held
from fourierft import FourierError

# Environment of the processes of one command: when it began (seconds since 1970); which of its workers one is.
SINCE, WORKER = "FOURIERFT_SINCE", "FOURIERFT_WORKER"
PAUSE = 10.0  # seconds between two looks at what others hold


class FailedMeanwhile(Exception):
    """Another worker of the same command has carried this run out, and it failed."""


class Awaited(Held):
    """Another process holds what this one cannot go on without, such as a trial of a search: worth a wait."""


@dataclass(frozen=True)
class Task:
    """A piece of work. It raises Held where another process is at it."""

    name: str
    work: Callable[[], object]


@dataclass
class Ended:
    """How tasks ended: the number of those done, here or before; the failures, name -> reason; the names of those that
    were left to other processes.

    code: the exit code: 1 after any failure but a user's mistakes, 2 after these.
    """

    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    code: int = 0

    def __str__(self) -> str:
        total = self.done + len(self.failed) + len(self.left)
        names: dict[str, list[str]] = {}
        for name, reason in self.failed.items():
            names.setdefault(reason, []).append(name)
        failed = [
            f"failed: {own[0]}{f' and {len(own) - 1} more' if len(own) > 1 else ''}: {reason}"
            for reason, own in names.items()
        ]
        left = [f"left to another process: {name}" for name in self.left]
        return "\n  ".join([f"{self.done} of {total} runs done", *failed, *left])


def carry_out(tasks: Sequence[Task]) -> Ended:
    """Carry out every task, whether others fail or not. Those that another process holds are tried again after the
    rest, and waited for where this process needs them. A loss that diverges, or memory that is short, is a result of
    the run, and no user's mistake."""
    ended, left = Ended(), list(enumerate(tasks, 1))
    while left:
        held: list[tuple[tuple[int, Task], Held]] = []
        for number, task in left:
            processes.say(f"run {number} of {len(tasks)}: {task.name}")
            try:
                task.work()
                ended.done += 1
            except Held as error:
                processes.say(f"held: {error}")
                held.append(((number, task), error))
            except Exception as error:
                reason = str(error).replace("\n", "; ")
                told = "as before" if reason in ended.failed.values() else reason
                print(f"failed: {task.name}: {told}", file=sys.stderr)
                ended.failed[task.name] = reason
                result = isinstance(error, Diverged) or type(error).__name__ == "OutOfMemoryError"  # torch's
                if isinstance(error, (UserError, FourierError)) and not result:
                    ended.code = ended.code or 2
                else:
                    ended.code = 1
                if not (result or isinstance(error, (UserError, FourierError, FailedMeanwhile))):
                    traceback.print_exc()
        if len(held) == len(left):
            if not any(isinstance(error, Awaited) for _, error in held):
                ended.left = [task.name for (_, task), _ in held]
                break
            time.sleep(PAUSE)
        left = [task for task, _ in held]
    return ended


# --- workers: processes that carry out the same command --------------------------------------------------------------


def is_worker() -> bool:
    """Whether this process is one of several that carry out the same command."""
    return WORKER in os.environ


def left_meanwhile(path: Path) -> bool:
    """Whether a worker of the same command left this record, good or of a failure: the others do not repeat the run."""
    since = os.environ.get(SINCE)
    return since is not None and path.exists() and path.stat().st_mtime >= float(since)


def beside(count: int, words: Sequence[str], cores: int) -> None:
    """Carry out `python WORDS` by `count` processes at once and wait for them; the beginning of each line that they
    print is their number. They share the cores out, and each has a GPU where there are GPUs.

    An interruption interrupts them too.
    """
    os.environ[SINCE] = str(time.time())  # of this process too, which sums up
    shared = {"OMP_NUM_THREADS": str(max(1, cores // count)), **os.environ}
    gpus, workers, readers = _gpus(), [], []
    try:
        for number in range(count):
            own = {WORKER: str(number)} | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {})
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            workers.append(subprocess.Popen([sys.executable, *words], env=shared | own, **pipes))
            readers.append(threading.Thread(target=_relay, args=(workers[-1].stdout, number + 1)))
            readers[-1].start()
        for reader in readers:
            reader.join()
    finally:
        for worker in workers:
            worker.terminate()  # one that has ended takes no notice
        for worker in workers:
            worker.wait()


def _relay(lines: Iterable[str], number: int) -> None:
    for line in lines:
        print(f"[{number}] {line}", end="", flush=True)


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in named.split(",") if name]
    import torch  # seconds to import

    return [str(index) for index in range(torch.cuda.device_count())]

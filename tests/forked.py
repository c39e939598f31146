"""A command of the project in a process of its own that need not import anything: it is forked from the tests'."""

import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from tests.conftest import ROOT


class Forked:
    """A function, called in a child of this process; its output goes to files.

    `environment`: the variables that the child has beside this process's own.
    """

    def __init__(self, function: Callable[[], object], **environment: str) -> None:
        if torch.cuda.is_available():
            pytest.skip("beside a GPU autograd forbids the backward pass of a forked process")
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115, they last as long as this
        self.code: int | None = None
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.pid = os.fork()
        if not self.pid:
            self._be_the_child(function, environment)

    def _be_the_child(self, function: Callable[[], object], environment: dict[str, str]) -> None:
        code = 1
        try:
            for number, file in enumerate(self._files, 1):
                os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
            os.environ |= environment
            signal.signal(signal.SIGINT, signal.default_int_handler)
            torch.set_num_threads(1)  # the threads of OpenMP do not outlive a fork
            function()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def runs(self) -> bool:
        """Whether the child has not ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is None

    def wait(self, seconds: float = 200) -> int:
        """The exit code, the negative of the signal for a child that was killed. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while self.runs():
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"no end within {seconds} s; {self.said()}")
            time.sleep(0.01)
        return self.code

    def said(self) -> tuple[str, str]:
        """What it has written to stdout and to stderr."""
        return tuple(os.pread(file.fileno(), 2**24, 0).decode() for file in self._files)


def python(*words: str, **environment: str) -> Forked:
    """`python PROGRAM ARGUMENTS` or `python -m MODULE ARGUMENTS`, forked."""

    def program() -> None:
        GlobalHydra.instance().clear()  # the tests' own
        module = words[0] == "-m"
        sys.argv = list(words[1:] if module else words)
        if module:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")

    return Forked(program, **environment)

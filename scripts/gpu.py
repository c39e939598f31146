"""All measurements and tests that need a GPU, the most valuable first, within minutes.

    python -m scripts.gpu [--minutes 10] [--stages tests,micro,...] [--out results] [--small]

    tests     the tests that need a GPU: the Triton kernel, and the bytes that a step keeps
    micro     the operations of a layer's step, and the constants for fourierft/choice.py: OUT/micro
    bench     training steps at full size beside LoRA and PEFT's FourierFT, those with targets first: OUT/bench
    bank      decoding and prefill with up to 4,096 adapters in mixed batches, beside LoRA, 64 first: OUT/bench
    memory    the memory study at the paper's scale, FourierFT and LoRA first: OUT/studies/memory
    library   the library's tests, all of them

Each stage is a process with a share of the remaining time, after which it is stopped. Results are written as they are
measured, and the output is copied to OUT/gpu/<stage>.log. At the end the stages, the constants and the targets are
printed; `make tables` shows the rest. --small rehearses everything on the CPU, at a tiny size. Exit code 1 if a stage
failed, 2 without a GPU, 130 after an interruption.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments import record
from experiments.command import Command
from experiments.errors import UserError
from experiments.measure.bench import Bench
from experiments.measure.micro import Micro
from experiments.report import micro, speed
from experiments.report.render import DASH, Table, markdown
from experiments.results import Results

CASES = "layer_llama_7b,layer_roberta_large,roberta_large,roberta_base,vit_large,gpt2_medium,llama_32_3b,llama_7b"
KERNEL_TESTS = ["tests/fourierft/test_kernel.py"]
GPU_TESTS = ["tests/fourierft", "tests/experiments/studies/test_memory_study.py"]
MINUTES = "MINUTES"  # in a command: 90 % of its minutes, so that it can end by itself
GRACE = 10  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Stage:
    """Arguments of python -m, and its share of the remaining time, relative to those of the later stages."""

    share: float
    command: Sequence[str]


@dataclass(frozen=True)
class Ended:
    """How a stage ended, its seconds, and its last line."""

    stage: str
    state: str
    seconds: float | None = None
    said: str = ""

    @property
    def failed(self) -> bool:
        return self.state.startswith("failed")


def plan(out: Path, small: bool) -> dict[str, Stage]:
    """The stages by name, the most valuable first."""
    results = Results(out)
    where = ["--set", "small" if small else "full", "--minutes", MINUTES, "--out"]
    cases, rounds = ("layer_768_2048", "1") if small else (CASES, "10")
    timings = ["scripts.bench", *where, f"{results['bench']}", "--repeats", rounds, "--cases"]
    tests = ["pytest", "-p", "no:cacheprovider"]
    study = ["scripts.study", "memory", "--scale", "paper", "--out", f"{results['studies']}"]
    return {
        "tests": Stage(2, [*tests, "-v", "-m", "gpu", *(KERNEL_TESTS if small else GPU_TESTS)]),
        "micro": Stage(2, ["scripts.micro", *where, f"{results['micro']}"]),
        "bench": Stage(4, [*timings, cases]),
        "bank": Stage(3, [*timings, "bank_1_decode" if small else "bank"]),
        "memory": Stage(3, [*study, "--tables", f"{results['tables']}", "--figures", f"{results['figures']}"]),
        "library": Stage(1, [*tests, "-q", "tests/fourierft/test_reference.py" if small else "tests/fourierft"]),
    }


def run(stage: str, command: Sequence[str], seconds: float, log: Path) -> Ended:
    """Run `python -m command` for so many seconds at most; its output is printed and copied to `log`."""
    started = time.perf_counter()
    words = [f"{0.9 * seconds / 60:.2f}" if word == MINUTES else word for word in command]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    said = [""]
    with open(log, "w", encoding="utf-8") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=record.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # its own process group, which is stopped as a whole
        )

        def copy() -> None:
            for line in child.stdout:
                print(line, end="", flush=True)
                file.write(line)
                file.flush()
                said[0] = line.strip(" =|\n") or said[0]

        reader = threading.Thread(target=copy)
        reader.start()
        try:
            code = child.wait(seconds)
            state = "done" if code == 0 else f"failed, exit code {code}"
        except subprocess.TimeoutExpired:
            state = "stopped at its time"
        finally:
            stop(child)
            reader.join()
    return Ended(stage, state, time.perf_counter() - started, said[0])


def stop(child: subprocess.Popen) -> None:
    """End the child and all processes that it started, by SIGTERM and then SIGKILL."""
    for signaled in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, signaled)
            child.wait(GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def stages(names: Sequence[str], planned: dict[str, Stage], minutes: float, out: Path) -> list[Ended]:
    """Run the stages in turn, each within its share of the remaining time, and print the report in any case."""
    end, ended = time.perf_counter() + 60 * minutes, []
    try:
        for place, name in enumerate(names):
            left = end - time.perf_counter()
            share = left * planned[name].share / sum(planned[one].share for one in names[place:])
            if share < 1:
                ended.append(Ended(name, "no time left"))
                continue
            print(f"\n== {name}, {share:.0f} s of {left:.0f} s that are left", flush=True)
            ended.append(run(name, planned[name].command, share, out / "gpu" / f"{name}.log"))
    finally:
        ended += [Ended(name, "interrupted") for name in names[len(ended) :]]
        print(report(ended, out), flush=True)
    return ended


def report(ended: Sequence[Ended], out: Path) -> str:
    """The stages, and the constants and targets from all records below `out`, in text."""
    rows = [[one.stage, one.state, DASH if one.seconds is None else f"{one.seconds:.0f}", one.said] for one in ended]
    results = Results(out)
    with record.left_out() as problems:
        micros, benches = record.find(results["micro"], Micro), record.find(results["bench"], Bench)
    stages = Table("Stages", ["Stage", "State", "Seconds", "Its last line"], rows)
    tables = [stages, *map(micro.values_table, micros), speed.targets(benches)]
    shown = [f"\n{table.title}\n\n{markdown(table)}" for table in tables]
    return "".join([*shown, *(f"gpu: {problem}\n" for problem in problems)])


def gpu(options: argparse.Namespace) -> int:
    """Run the chosen stages; returns the exit code. Raises UserError."""
    if not options.small and not torch.cuda.is_available():
        raise UserError(
            f"torch {torch.__version__} sees no CUDA device. Where there is a GPU but no network, unpack what "
            "`make gpu-pack` makes; --small rehearses every stage on the CPU"
        )
    out = options.out or Path("build/gpu" if options.small else "results")
    planned = plan(out.absolute(), options.small)
    names = options.stages.split(",") if options.stages else list(planned)
    if unknown := [name for name in names if name not in planned]:
        raise UserError(f"no stage {', '.join(unknown)}; there are: {', '.join(planned)}")
    record.check_writable(out / "gpu", "--out")
    return 1 if any(one.failed for one in stages(names, planned, options.minutes, out)) else 0


main = Command("gpu", __doc__, gpu)
main.add_argument("--minutes", type=float, default=10, help="for all stages (default: %(default)s)")
main.add_argument("--stages", metavar="NAME,NAME", help="some of the stages, in this order; default: all")
main.add_argument("--out", type=Path, metavar="FOLDER", help="default: results; with --small build/gpu")
main.add_argument("--small", action="store_true", help="rehearse on the CPU, at a tiny size")

if __name__ == "__main__":
    main.start()

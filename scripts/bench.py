"""Time training steps and measure their memory: of a frozen model, PEFT's LoRA and FourierFT, and this library. Or,
with --cases bank, time steps that serve many adapters in mixed batches.

    python -m scripts.bench [--set small|full|compiled] [--cases NAME,NAME] [--repeats 20] [--minutes 10] [--out FOLDER]

The small set runs on the CPU, the full one on a GPU; the compiled one (torch.compile) first compiles for minutes. All
contestants share the frozen weights and the input, which requires a gradient: times in units of the frozen step's are
the cost of the adapter. A step is forward, backward and, for a whole model, AdamW on the adapter; of a bank, a decoding
step or a prefill. Each case is written to OUT/<set>/<case>.json when it is done; use another OUT for another machine.
`make tables` shows them all.

A case is no measurement if the frozen step varies by more than a tenth, or has fewer than three rounds: it says so, and
never replaces one that is. Exit code 1 if a contestant failed (running out of memory is a result), 2 for a wrong
option, a missing device or a folder that cannot be written.
"""

import argparse
import gc
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from experiments import record
from experiments.command import Command
from experiments.errors import UserError
from experiments.measure.bench import Bench
from experiments.measure.contestants import run
from experiments.measure.mixed import Mixed
from experiments.measure.timed import default_set, device_of
from experiments.measure.workloads import SETS, Case
from experiments.report.speed import cell


def bench(options: argparse.Namespace) -> int:
    """Measure, print and write the chosen cases; returns the exit code. Raises UserError."""
    if options.repeats < 1:
        raise UserError(f"--repeats {options.repeats}: give 1 or more")
    cases = SETS[options.set]
    groups = {word: named(word, cases) for word in options.cases.split(",")} if options.cases else {"": training(cases)}
    if unknown := [word for word, found in groups.items() if not found]:
        raise UserError(f"no case {', '.join(unknown)} in the {options.set} set; it has: {', '.join(cases)}")
    chosen = [name for found in groups.values() for name in found]
    device_of(options.set)
    end, well = time.perf_counter() + 60 * options.minutes, True
    for place, name in enumerate(chosen):
        gc.collect()  # frees the case before
        now = time.perf_counter()
        if place and now >= end:
            print(f"not begun, since the minutes are over: {', '.join(chosen[place:])}")
            break
        print(f"{name}: {cases[name].description}", flush=True)
        result = run(options.set, name, options.repeats, now + max(end - now, 0.0) / (len(chosen) - place))
        for contestant in result.contestants:
            print(f"  {contestant:25} {cell(result, contestant)}", flush=True)
        print(f"  {result.noise}", flush=True)
        keep(result, options.out / result.place)
        well &= all(entry.status != "failed" for entry in result.contestants.values())
    return 0 if well else 1


def named(word: str, cases: Mapping[str, Case]) -> list[str]:
    """The case of this name, or all whose names begin with it, e.g. bank."""
    return [word] if word in cases else [name for name in cases if name.startswith(f"{word}_")]


def training(cases: Mapping[str, Case]) -> list[str]:
    """The cases that are training steps."""
    return [name for name, case in cases.items() if not isinstance(case, Mixed)]


def keep(result: Bench, path: Path) -> None:
    """Write the result, unless it is no measurement and would replace one."""
    if not result.steady and path.exists() and record.read(path, Bench).steady:
        print(f"  not written: {path} holds a measurement")
    else:
        record.write(result, path)


main = Command("bench", __doc__, bench)
main.add_argument("--set", choices=list(SETS), default=default_set(), help="default here: %(default)s")
main.add_argument("--cases", metavar="NAME,NAME", help="by name or its first words; default: training steps")
main.add_argument("--repeats", type=int, default=20, help="timed rounds of each case (default: %(default)s)")
main.add_argument("--minutes", type=float, default=10, help="for all cases; there are fewer rounds if needed")
main.add_results(out="bench")

if __name__ == "__main__":
    sys.exit(main())

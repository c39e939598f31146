"""Time the operations of a layer's step, on which the choice of algorithms depends.

    python -m scripts.micro [--set small|full] [--minutes 2] [--out results/micro]

The small set is tiny and runs on the CPU, the full one on a GPU. OUT/<machine>.json is written after each operation, so
an interruption loses nothing. Prints the constants for fourierft/choice.py; `make tables` shows them. Exit code 1 if an
operation failed (running out of memory is a result), 2 for a missing device or a folder that cannot be written, 130
after an interruption.
"""

import argparse
import time
from pathlib import Path

import torch

from experiments import record
from experiments.command import Command
from experiments.measure.micro import Micro, Row
from experiments.measure.parts import everything, measure
from experiments.measure.timed import default_set, device_of
from experiments.report import micro
from experiments.report.render import markdown


@torch.inference_mode()
def run(chosen: str, out: Path, until: float = float("inf")) -> Micro:
    """Measure and write, row by row; none begins after `until` of `time.perf_counter()`. Raises UserError."""
    device = device_of(chosen)
    known = record.circumstances(device)
    rows: list[Row] = []

    def write(complete: bool) -> Micro:
        found = Micro(set=chosen, complete=complete, rows=rows, **known, ended=record.now())
        record.write(found, out / found.place)
        return found

    for about, step in everything(chosen, device):
        if time.perf_counter() > until:
            return write(False)
        rows.append(measure(about, step, device))
        print(micro.line(rows[-1]), flush=True)
        write(False)
    return write(True)


def time_parts(options: argparse.Namespace) -> int:
    """Measure the set, and print the values and the choices; returns the exit code. Raises UserError."""
    found = run(options.set, options.out, time.perf_counter() + 60 * options.minutes)
    for table in micro.tables([found])[:2]:
        print(f"\n{table.title}\n\n{markdown(table)}", end="")
    return 1 if any(row.status == "failed" for row in found.rows) else 0


main = Command("micro", __doc__, time_parts)
main.add_argument("--set", choices=("small", "full"), default=default_set(), help="default here: %(default)s")
main.add_argument("--minutes", type=float, default=2, help="after which no operation begins (default: %(default)s)")
main.add_results(out="micro")

if __name__ == "__main__":
    main.start()

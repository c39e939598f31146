"""Figures from the records alone: the rank of delta_W of every experiment, model and method, the miniature's apart.

    python -m scripts.figures [--records results/records] [--out results/figures]

One PNG each, of the smallest seed that ended well. The same records give the same bytes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.analysis import rank
from experiments.analysis.aggregate import rows
from experiments.errors import UserError
from experiments.record import find


def build(records: Path, out: Path) -> list[Path]:
    """Draw every figure; returns their paths. Raises UserError for a record that cannot be read."""
    written = []
    for row in rows(find(records)):
        if row.scale == "mini":  # a demonstration, no evidence; its plots stand in the runs' folders
            continue
        for exp, cell in row.cells.items():
            analysed = [run for run in cell.runs if run.rank]
            if not analysed:
                continue
            label = "_".join([row.method, *(f"{key}{value}" for key, value in row.overrides.items())])
            path = out / f"rank_{exp}_{row.model}_{label}.png"
            title = f"ΔW of {row.method} on {exp}, {row.model}, best epoch, seed {analysed[0].seed}"
            rank.plot(analysed[0].rank, path, title)
            written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=Path("results/records"))
    parser.add_argument("--out", type=Path, default=Path("results/figures"))
    options = parser.parse_args(arguments)
    try:
        print(*build(options.records, options.out), sep="\n")
    except UserError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

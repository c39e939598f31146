"""Count the parameters and stored bytes of every method in the paper's tables, at full size, without weights.

    python -m scripts.parameters [MODEL ...] [--force] [--paper results/paper] [--out results/parameters]

Writes OUT/<model>.json for each model that has none. Needs no network and no GPU; full fine-tuning of GPT-2 Large needs
3 GB in the temporary folder for a moment. `make tables` shows the files. Exit code 2 for an unknown model, or a file
that cannot be read or written.
"""

import argparse
import sys

from transformers.utils import logging

from experiments import record
from experiments.command import Command
from experiments.errors import UserError
from experiments.measure.sizes import Sizes, wanted
from experiments.models.architectures import ARCHITECTURES
from experiments.paper.printed import read_paper
from experiments.parameters import sizes


def count(options: argparse.Namespace) -> None:
    """Count and write the named models, or all. Raises UserError."""
    logging.set_verbosity_error()
    rows = wanted(read_paper(options.paper))
    if unknown := [name for name in options.models if name not in rows]:
        raise UserError(f"no model {', '.join(unknown)} in the paper's tables; there are: {', '.join(rows)}")
    for name in options.models or rows:
        path = options.out / f"{name}.json"
        if path.exists() and not options.force:
            record.read(path, Sizes)
            print(f"done before: {path} (--force repeats it)")
            continue
        print(f"{name}:", flush=True)
        record.write(sizes(name, ARCHITECTURES[name], rows[name]), path)


main = Command("parameters", __doc__, count)
main.add_argument("models", nargs="*", metavar="MODEL", help="default: all of the paper's tables")
main.add_argument("--force", action="store_true", help="count again what is there")
main.add_results("paper", out="parameters")

if __name__ == "__main__":
    sys.exit(main())

"""Count every method of the paper's tables on its models at full size, without weights, and write what would be stored.

    python -m scripts.parameters [MODEL ...] [--force] [--paper results/paper] [--out results/parameters]

Each model leaves OUT/<model>.json; one that is there is not repeated. Needs no network and no GPU; full fine-tuning of
GPT-2 Large writes 3 GB into the temporary folder, and takes them away again. `make tables` renders the files. Exit code
2 where a model is unknown, or a file cannot be read or written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir
from transformers.utils import logging

from experiments import record
from experiments.errors import UserError
from experiments.measure.parameters import sizes
from experiments.measure.sizes import Sizes, wanted
from experiments.models.architectures import ARCHITECTURES
from experiments.paper.printed import read_paper


def count(models: Sequence[str], force: bool, paper: Path, out: Path) -> None:
    """Count and write the named models, or all. Raises UserError."""
    if unknown := [name for name in models if name not in ARCHITECTURES]:
        raise UserError(f"no model {', '.join(unknown)}; there are: {', '.join(ARCHITECTURES)}")
    rows = wanted(read_paper(paper))
    for name in models or ARCHITECTURES:
        path = out / f"{name}.json"
        if path.exists() and not force:
            record.read(path, Sizes)
            print(f"done before: {path} (--force repeats it)")
            continue
        print(f"{name}:", flush=True)
        record.write(sizes(name, ARCHITECTURES[name], rows[name]), path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"default: all of {', '.join(ARCHITECTURES)}")
    parser.add_argument("--force", action="store_true", help="count again what is there")
    parser.add_argument("--paper", type=Path, default=Path("results/paper"), help="folder of the paper's numbers")
    parser.add_argument("--out", type=Path, default=Path("results/parameters"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    logging.set_verbosity_error()
    try:
        count(options.models, options.force, options.paper, options.out)
    except UserError as error:
        print(f"parameters: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    with initialize_config_dir(str(record.ROOT / "configs"), version_base="1.3"):
        sys.exit(main())

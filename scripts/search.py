"""Search recipes' learning rates, with the same number of trials for every method, on a slice of the training rows.

    python -m scripts.search --trials 6 +exp=glue_stsb model=minilm_l6 method=lora,fourierft recipe.epochs=2

The ranges stand in configs/search/<method>.yaml; `--range recipe.lr=1e-4:1e-2` changes or adds one. The trials are a
fixed quasi-random sequence (Sobol, scrambled), each a run of the suite with `train.holdout`, which never sees the
validation set. A trial that has its record is not repeated, so an interrupted search goes on where it stopped.
Writes results/search/<exp>/<model>/<method>.json, and prints what to write into each recipe.

`--storage sqlite:///search.db` keeps Optuna's study in a file, for its dashboard, its plots, and for several processes
that share the work; `--trials` is then what the study ends with. A trial killed there gives its place to the next of
the sequence. Exit code 2 where something asked for is wrong, 130 after an interruption.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir

from experiments.config import CONFIGS, TOLD, explain, legible
from experiments.report.render import Table, markdown
from experiments.search import Trials, parse_range, prepare, run
from experiments.stopping import stoppable


def by_method(overrides: list[str]) -> list[list[str]]:
    """One list of overrides for each of the methods in `method=a,b`; the list itself where none is chosen."""
    at = next((i for i, override in enumerate(overrides) if override.startswith("method=")), None)
    if at is None:
        return [overrides]
    names = dict.fromkeys(overrides[at].removeprefix("method=").split(","))
    return [[*overrides[:at], f"method={name}", *overrides[at + 1 :]] for name in names]


def advice(results: Sequence[Trials]) -> str:
    """A table of the bests, each with the keys that its recipe is to hold."""
    first = results[0]
    title = f"{first.exp}, {first.model}, {len(first.trials)} trials each, holdout {first.holdout}"
    lines = []
    for result in results:
        values = {key: value for key, value in result.best.items() if key != "score"}
        keys = {**values, "recipe.trials": len(result.trials)}
        lines.append([result.method, f"{result.best['score']:.4f}", ", ".join(f"{k}: {v}" for k, v in keys.items())])
    return f"\n{title}\n\n{markdown(Table(title, ['Method', 'Best', 'For its recipe'], lines))}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6, help="of each method")
    parser.add_argument("--holdout", type=float, default=0.15, help="share of the training rows to choose on")
    parser.add_argument("--range", action="append", default=[], metavar="KEY=LOW:HIGH", help="may be repeated")
    parser.add_argument("--storage", metavar="URL", help="where Optuna keeps the studies, such as sqlite:///FILE")
    parser.add_argument("--out", type=Path, default=Path("results/search"))
    parser.add_argument("--force", action="store_true", help="replace the file of another search")
    parser.add_argument("overrides", nargs="+", help="as for run.py: +exp=... model=... method=a,b,...")
    options = parser.parse_intermixed_args(arguments)
    try:
        given = dict(map(parse_range, options.range))
        with initialize_config_dir(str(CONFIGS), version_base="1.3"), legible():
            searches = [
                prepare(overrides, options.trials, options.holdout, options.out, given, options.force)
                for overrides in by_method(options.overrides)
            ]
            results = [run(search, options.trials, options.storage) for search in searches]
    except TOLD as error:
        print(f"search: {explain(error)}", file=sys.stderr)
        return 2
    print(advice(results), *(f"written: {search.path}" for search in searches), sep="\n")
    return 0


if __name__ == "__main__":
    with stoppable("search"):
        sys.exit(main())

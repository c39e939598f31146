"""Search for learning rates, with equal effort for every method, scored on held-out training rows.

    python -m scripts.search --trials 6 +exp=glue_stsb model=minilm_l6 method=lora,fourierft recipe.epochs=2

The ranges are in configs/search/<method>.yaml, or default.yaml; `--range recipe.lr=1e-4:1e-2` replaces or adds one.
The first --trials points are a fixed quasi-random sequence in them (Sobol, scrambled). Ranges are where a search
starts, not its limits: while the best value of a key is the highest or the lowest that was tried, the best point is
tried with that key doubled or halved, one key at a time in the order of the ranges. A key is inside once a higher and a
lower value than the best were tried; a trial that diverges scores lowest. A key without a valid value beyond its edge
stays there. A best point that is inside is tried again with the next seed, and the mean of its scores compared with the
others, until the best one has --seeds of them. Both take at most --extra more trials.

Each trial is a run with `train.holdout`, which never sees the validation set. Trials that were run are not repeated, so
that an interrupted search continues, and one that ended at an edge goes on. Writes
results/search/<exp>/<model>/<method>.json, and prints the keys for each recipe. Exit code 2 for a wrong option, 130
after an interruption.
"""

import argparse
from collections.abc import Sequence
from functools import partial

from experiments.command import Command
from experiments.report.render import Table, markdown
from experiments.search import Search, parse_range, prepare, run
from experiments.trials import Trials, scores
from experiments.work import Task, carry_out, is_worker


def by_method(overrides: list[str]) -> list[list[str]]:
    """One list of overrides for each method in `method=a,b`; the list itself without that."""
    at = next((i for i, override in enumerate(overrides) if override.startswith("method=")), None)
    if at is None:
        return [overrides]
    names = dict.fromkeys(overrides[at].removeprefix("method=").split(","))
    return [[*overrides[:at], f"method={name}", *overrides[at + 1 :]] for name in names]


def advice(results: Sequence[Trials]) -> str:
    """A table of the best points, with their seeds (×) and the keys for their recipes."""
    first = results[0]
    title = f"{first.exp}, {first.model}, holdout {first.holdout}"
    lines = []
    for result in results:
        keys = {**result.point, "recipe.trials": len(result.trials)}
        edges = ", ".join(f"{key} {end}" for key, end in result.edges.items()) or "inside"
        told = ", ".join(f"{key}: {value}" for key, value in keys.items())
        best = f"{result.best['score']:.4f} ×{len(scores(result.point, result.trials))}"
        lines.append([result.method, best, told, edges])
    return f"\n{title}\n\n{markdown(Table(title, ['Method', 'Best', 'For its recipe', 'Among those tried'], lines))}"


def search(options: argparse.Namespace) -> int:
    """Search for every chosen method, and print the best trials; returns the exit code. Raises UserError."""
    given = dict(map(parse_range, options.range))
    effort = {"trials": options.trials, "extra": options.extra, "seeds": options.seeds, "holdout": options.holdout}
    searches = [
        prepare(overrides, **effort, out=options.out, given=given, force=options.force)
        for overrides in by_method(options.overrides)
    ]
    found = {}

    def carry(one: Search) -> None:
        found[one.path] = run(one)

    ended = carry_out([Task(one.base.method.name, partial(carry, one)) for one in searches])
    if found and not is_worker():
        print(advice(list(found.values())), *(f"written: {path}" for path in found), sep="\n")
    if ended.failed or ended.left:
        print(ended)
    return ended.code


main = Command("search", __doc__, search)
main.add_argument("--trials", type=int, default=6, help="in the ranges, of each method")
main.add_argument("--extra", type=int, default=6, help="at most so many more, beyond the edges and again")
main.add_argument("--seeds", type=int, default=2, help="with which the best point has to have been tried")
main.add_argument("--holdout", type=float, default=0.15, help="share of the training rows to choose on")
main.add_argument("--range", action="append", default=[], metavar="KEY=LOW:HIGH", help="may be repeated")
main.add_jobs()
main.add_results(out="search")
main.add_argument("--force", action="store_true", help="replace the file of another search")
main.add_argument("overrides", nargs="+", help="as for run.py: +exp=... model=... method=a,b,...")

if __name__ == "__main__":
    main.start()

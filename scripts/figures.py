"""Make all figures from the records: the rank of delta_W, scores against costs (the Pareto view), the curves of losses,
those of the studies, and the cost of a step against the number of adapters in a bank.

    python -m scripts.figures [--records results/records] [--search results/search] [--studies results/studies]
                              [--bench results/bench] [--out results/figures]
                              [--exp glue_stsb] [--model minilm_l6] [--scale small]

Ranks: a PNG per experiment, model and method, of the smallest seed that succeeded; those of the miniature are in the
folders of its runs. Pareto: a PNG and a PDF per experiment, model and scale with at least three methods. Curves:
likewise, where the score is a loss and a run has at least two epochs. Studies and banks: not with a filter. The same
records give the same bytes. Without a filter, figures without records are removed. A record that is unreadable or
inconsistent is named and left out; the exit code is then 2, as it is if no record passes the filters.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.command import Command
from experiments.errors import UserError
from experiments.measure import rank
from experiments.measure.bench import Bench
from experiments.names import name
from experiments.record import find
from experiments.report import bank, curves, pareto, passages
from experiments.report.aggregate import Row, by_experiment, rows, within
from experiments.report.labels import labels
from experiments.report.page import write_figures
from experiments.report.searches import Searches
from experiments.studies import STUDIES
from experiments.style import save_all


def build(options: argparse.Namespace) -> None:
    """Draw the figures of the records that pass the filters, and print their paths. Raises UserError."""
    out, exp, model, scale = options.out, options.exp, options.model, options.scale
    everything = rows(find(options.records), Searches.read(options.search, options.studies).edges)
    chosen = [row for row in everything if model in (None, row.model) and scale in (None, row.scale)]
    chosen = within(chosen, [exp]) if exp else chosen
    filters = {key: value for key, value in (("exp", exp), ("model", model), ("scale", scale)) if value}
    if filters and not chosen:
        there = sorted({f"{one} {row.model} {row.scale}" for row in everything for one in row.cells})
        asked = ", ".join(f"--{key} {value}" for key, value in filters.items())
        raise UserError(f"{asked}: no record in {options.records}; there are {', '.join(there) or 'none at all'}")
    written = ranks(chosen, out)
    for kind, view in (("pareto", pareto), ("curves", curves)):
        for key, own in view.groups(chosen).items():
            written += save_all(view.draw(own, key[0]), out, "_".join((kind, *key)))
    if not filters:
        pages = [page for key, study in STUDIES.items() for page in study.pages(options.studies / key)]
        pages += bank.pages(find(options.bench, Bench))
        written += write_figures(pages, out)
        if few := passages.few(everything):
            written += save_all(pareto.draw(few, passages.STSB[0]), out, "readme_stsb")
        kinds = ("rank", "pareto", "curves", "study", "bank", "readme")
        for stale in {path for kind in kinds for path in out.glob(f"{kind}_*")} - set(written):
            stale.unlink()
    print(*written, sep="\n")


def ranks(chosen: Sequence[Row], out: Path) -> list[Path]:
    """Draw the rank of delta_W for each row and experiment, except those of the miniature; returns the paths."""
    written = []
    for (exp, model, scale), own in by_experiment(chosen).items():
        if scale == "mini":  # a demonstration; its plots are in the folders of its runs
            continue
        for row, label in zip(own, labels(own), strict=True):
            run = next((run for run in row.cells[exp].runs if run.rank), None)
            if run is None:
                continue
            own_settings = (row.overrides | row.sizes).items()
            told = [f"{k.removeprefix('settings.')}{len(v) if isinstance(v, dict) else v}" for k, v in own_settings]
            path = out / f"rank_{'_'.join([exp, model, row.method, *told])}.png"
            if path in written:  # by another recipe
                path = path.with_stem(f"{path.stem}_{re.sub(r'[^0-9A-Za-z]+', '_', row.label)}")
            rank.plot(run.rank, path, f"ΔW of {label}, {name(exp)}, {name(model)}, best epoch, seed {run.seed}")
            written.append(path)
    return written


main = Command("figures", __doc__, build)
main.add_results("records", "search", "studies", "bench", out="figures")
main.add_argument("--exp", help="of this experiment only")
main.add_argument("--model", help="of this model only")
main.add_argument("--scale", choices=["paper", "small", "mini"], help="of this scale only")

if __name__ == "__main__":
    sys.exit(main())

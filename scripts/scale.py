"""Write results/scale.md: what the whole paper takes, table by table and study by study, at its own scale.

    python -m scripts.scale [--device "NVIDIA H100 80GB HBM3"] [--out results/scale.md]

Runs, steps and disk follow from the configurations; hours from the recorded runs and the bench on one kind of device,
by default the GPU of most of them. The same records give the same bytes.
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from experiments.command import Command
from experiments.measure.bench import Bench
from experiments.measure.sizes import Sizes
from experiments.record import find, replace_file
from experiments.report.costs import HEADER, NOTES, Costs
from experiments.report.render import DASH, Table, markdown
from experiments.results import Results
from experiments.studies import STUDIES
from experiments.studies.base import DeclaredStudy
from scripts.table import TABLES, planned
from scripts.table import main as table

NONE = f"{DASH}: nothing of these models was timed on a GPU: `make bench` there, and `make scale` again."


def trials(studies: Iterable[DeclaredStudy]) -> str:
    """What their searches add."""
    each = [study.file.paper.trials for study in studies if study.file.paper]
    least, most = map(sum, zip(*each, strict=True))
    return f"The searches of the studies come on top: {least:,} to {most:,} trials, each a part of a run."


def scale(options: argparse.Namespace) -> None:
    """Write the page. Raises UserError."""
    records = find(options.records)
    benches = find(options.bench, Bench)
    gpus = Counter(run.hardware.gpu for run in (*records, *benches) if run.hardware.gpu)
    device = options.device or next((name for name, _ in gpus.most_common(1)), "")
    costs = Costs.of(records, find(options.parameters, Sizes), device, benches)
    asked = ["--paper", str(options.paper), "--out", str(options.records)]
    parts = {
        of.title: planned(of, table.parse_intermixed_args([name, *asked]))
        for name, of in TABLES.items()
        if name.startswith("table")
    }
    studies = [study for study in STUDIES.values() if isinstance(study, DeclaredStudy)]
    for study in studies:
        if study.file.paper:
            rows = study.to_do("paper", options.studies / study.name)
            parts[study.title] = [run for own in rows.values() for run in own]
    once = {run.config.name: run for runs in parts.values() for run in runs}
    body = [[name, *costs.summed(runs)] for name, runs in parts.items()]
    body.append(["all, each run once", *costs.summed(list(once.values()))])
    title = "The whole paper, at its own scale"
    shown = Table(title, ["Part", *HEADER], body)
    notes = [*NOTES, trials(studies), f"The device: {device}." if device else NONE]
    text = "\n".join([f"# {title}", "", markdown(shown), *(f"- {note}" for note in notes), ""])
    replace_file(options.out, text.encode())
    print(options.out)


main = Command("scale", __doc__, scale)
main.add_argument("--device", help="the GPU or CPU whose times count, by its name in the records")
main.add_results("records", "studies", "parameters", "bench", "paper")
main.add_argument("--out", type=Path, default=Results().root / "scale.md")

if __name__ == "__main__":
    main.start()

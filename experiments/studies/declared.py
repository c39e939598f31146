"""The studies that are sweeps: what distinguishes their settings, and how they are shown.

configs/study/<name>.yaml has the texts, the questions and the runs of each.
"""

from functools import partial
from typing import Any

from experiments.record import Record
from experiments.studies import bands, measures, questions, views
from experiments.studies.plan import Planned
from experiments.studies.sweep import Sweep

SIZES = {"fourierft": "n", "lora": "r"}


def _of(run: Record | Planned, key: str, default: Any = None) -> Any:
    """The value of a setting of the method, in the record or in the plan."""
    return run.config["method"].get(key, default)


SCALING = Sweep(
    name="scaling",
    setting=lambda run: (run.method, _of(run, SIZES[run.method])),
    label=lambda setting: (setting[0], f"{SIZES[setting[0]]}={setting[1]}"),
    view=views.against(measures.per_matrix, "adapter parameters per matrix"),
)
BIAS = Sweep(
    name="bias",
    setting=lambda run: tuple(_of(run, "band") or ()),
    label=lambda band: [f"{bins:g}" for bins in band] or [bands.NO_BIAS, ""],
    view=bands.draw,
    maps={"maps": bands.maps},
)
BASIS = Sweep(
    name="basis",
    setting=lambda run: (_of(run, "basis", "fourier"),),
    order=lambda setting: questions.BASES.index(setting[0]),
    header=(*measures.HEADER, "Against Fourier"),
    cells=lambda runs, groups: [*measures.cells(runs, groups), measures.drop(runs, groups.get(("fourier",)))],
    view=views.dots,
    across=2,
)
CURVES = Sweep(
    name="curves",
    setting=lambda run: (run.method,),
    metrics=lambda groups: measures.of_every_epoch(groups.runs),
    view=views.by_epoch,
)
INITIALISATION = Sweep(name="initialisation", setting=lambda run: (_of(run, "init"),), view=views.by_epoch)
LUCK = Sweep(
    name="luck",
    # The run that both groups share, with seed 0, counts in the first only: the test assumes independent groups.
    setting=lambda run: (questions.TRAINING if run.seed else questions.POSITIONS,),
    pooled=("entry_seed",),
    header=("Runs", "Lowest", "Median", "Highest", "Standard deviation"),
    cells=measures.extremes,
    view=partial(views.dots, counted=True),
    notes=(measures.EDGES,),
)
GRID = Sweep(
    name="grid",
    setting=lambda run: (_of(run, "entries", "random"), _of(run, "n")),
    header=(*measures.HEADER, "Rank"),
    cells=lambda runs, groups: [*measures.cells(runs, groups), f"{runs[0].rank.summary.numerical_rank.median:g}"],
    view=views.against(lambda run: _of(run, "n"), "n, coefficients of a matrix"),
)

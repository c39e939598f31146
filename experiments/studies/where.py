"""Where the numbers go: scores against the bytes of the adapter, for choices of what the same few bytes stand for."""

import math
from pathlib import Path
from typing import Any

from experiments.names import name
from experiments.record import Record
from experiments.studies import measures, views
from experiments.studies.measures import Groups
from experiments.studies.plan import Planned
from experiments.studies.questions import Ask, Finding, all_of, strongest
from experiments.studies.sweep import Sweep

SIZES = ("n", "r", "settings.theta_d_length", "settings.r")  # the first that a method has is its size
BUDGETS = (6_144, 24_576, 98_304)  # bytes
LORA = ("lora", 8)
LESS = 6  # how many times fewer bytes than LoRA's


def choice(run: Record | Planned) -> str:
    """The method, or the kind of FourierFT: which of the weights' changes its numbers can make, and in which layers."""
    method = run.config["method"]
    if run.method != "fourierft":
        return run.method
    by_order = {"identity": "submatrix"}.get(method.get("basis", ""), "sorted")
    kinds = {
        by_order: method.get("entries") == "sorted",
        "by_module": bool(method.get("n_pattern")),
        "all": method.get("targets") == "all-linear",
    }
    return "_".join(["fourierft", *(kind for kind, meant in kinds.items() if meant)])


def size(run: Record | Planned) -> Any:
    """The setting that says how many numbers there are."""
    method = run.config["method"]
    flat = {**method, **{f"settings.{key}": value for key, value in method.get("settings", {}).items()}}
    return next(flat[key] for key in SIZES if key in flat)


def stored(run: Record) -> int:
    """The bytes of the adapter without the head: its numbers in float32, and the order of rows and columns."""
    return run.params.adapter_bytes


def budget(run: Record) -> int:
    """The budget that is nearest to the bytes of a run, in proportion."""
    return min(BUDGETS, key=lambda bytes_: abs(math.log(stored(run) / bytes_)))


def is_above_lora_for_less(groups: Groups) -> Finding | None:
    """Some choice is above LoRA r=8 on q and v with a sixth of its bytes or less; refuted if all are below."""
    if LORA not in groups:
        return None
    most = stored(groups[LORA][0]) / LESS
    less = {one: runs for one, runs in groups.items() if stored(runs[0]) <= most}
    found = {one: measures.compare(runs, groups[LORA], len(less)) for one, runs in less.items()}
    if not found:
        return None
    said = "; ".join(f"{name(one[0])}, {stored(less[one][0]):,} bytes {each.said}" for one, each in found.items())
    answer = strongest([each.answer for each in found.values()])
    return Finding(f"minus LoRA r=8, {stored(groups[LORA][0]):,} bytes: {said}", answer)


def order_beats_random(groups: Groups) -> Finding | None:
    """What gradients have put in order is above random positions in the same layers, at every budget."""
    kinds = {(kind, budget(runs[0])): runs for (kind, _), runs in groups.items()}
    pairs = {
        (kind, bytes_): (runs, kinds[other, bytes_])
        for (kind, bytes_), runs in kinds.items()
        if kind.startswith(("fourierft_sorted", "fourierft_submatrix"))
        and (other := "fourierft_all" if kind.endswith("_all") else "fourierft", bytes_) in kinds
    }
    found = {
        f"{name(kind)}, {bytes_:,} bytes": measures.compare(*both, len(pairs)) for (kind, bytes_), both in pairs.items()
    }
    return all_of("minus random positions:", found)


class Where(Sweep):
    """The sweep, with questions of its own."""

    def ask(self, name: str, folder: Path) -> Ask:
        own = {one.__name__: one for one in (is_above_lora_for_less, order_beats_random)}
        return own.get(name) or super().ask(name, folder)


WHERE = Where(
    name="where",
    setting=lambda run: (choice(run), size(run)),
    label=lambda setting: (name(setting[0]), setting[1]),
    header=("Stored bytes", *measures.HEADER),
    cells=lambda runs, groups: [f"{stored(runs[0]):,}", *measures.cells(runs, groups)],
    view=views.against(stored, "stored bytes of the adapter"),
)

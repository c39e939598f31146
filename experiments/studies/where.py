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
    """The method, or the kind of FourierFT: in which layers its numbers are."""
    method = run.config["method"]
    kinds = {"_by_module": method.get("n_pattern"), "_all": method.get("targets") == "all-linear"}
    return run.method + "".join(kind for kind, meant in kinds.items() if meant)


def size(run: Record | Planned) -> Any:
    """The setting that says how many numbers there are."""
    method = run.config["method"]
    flat = {**method, **{f"settings.{key}": value for key, value in method.get("settings", {}).items()}}
    return next(flat[key] for key in SIZES if key in flat)


def stored(run: Record) -> int:
    """The bytes of the adapter without the head: its numbers in float32."""
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
    found = {one: groups.compare(runs, groups[LORA], len(less)) for one, runs in less.items()}
    if not found:
        return None
    said = "; ".join(f"{name(one[0])}, {stored(less[one][0]):,} bytes {each.said}" for one, each in found.items())
    answer = strongest([each.answer for each in found.values()])
    return Finding(f"minus LoRA r=8, {stored(groups[LORA][0]):,} bytes: {said}", answer)


def all_layers_beat_attention(groups: Groups) -> Finding | None:
    """The same bytes on all linear layers are above those on q and v, at every budget that both have."""
    kinds = {(kind, budget(runs[0])): runs for (kind, _), runs in groups.items()}
    both = [bytes_ for bytes_ in BUDGETS if {("fourierft", bytes_), ("fourierft_all", bytes_)} <= kinds.keys()]
    found = {
        f"{bytes_:,} bytes": groups.compare(kinds["fourierft_all", bytes_], kinds["fourierft", bytes_], len(both))
        for bytes_ in both
    }
    return all_of("minus q and v:", found)


class Where(Sweep):
    """The sweep, with questions of its own."""

    def ask(self, name: str, folder: Path) -> Ask:
        own = {one.__name__: one for one in (is_above_lora_for_less, all_layers_beat_attention)}
        return own.get(name) or super().ask(name, folder)


WHERE = Where(
    name="where",
    setting=lambda run: (choice(run), size(run)),
    label=lambda setting: (name(setting[0]), setting[1]),
    header=("Stored bytes", *measures.HEADER),
    cells=lambda runs, groups: [f"{stored(runs[0]):,}", *measures.cells(runs, groups)],
    view=views.against(stored, "stored bytes of the adapter"),
)

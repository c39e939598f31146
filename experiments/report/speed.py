"""The tables of the bench: ratios of times with their spread, memory, and targets."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.measure.bench import BASELINE, GRID, LORA, OURS, PEFT, ROUNDS, Bench
from experiments.measure.timing import quartiles
from experiments.report.page import Page
from experiments.report.render import DASH, Table, number

MIB, GIB = 2**20, 2**30
TITLE = "Speed and memory of a training step"
SIGNS = [
    f"{DASH}: not measured. OOM: out of memory. ‡ code not at a clean commit.",
    f"≀ no measurement: fewer than {ROUNDS} rounds, or the quartiles of the frozen step lie more than 10 % apart.",
]
NOTES = [
    "Frozen: median milliseconds of a step, forward and backward down to the input, ×k over k interleaved rounds. "
    "Others: in units of the frozen step of the same round; the median, and the quartiles in brackets.",
    "Frozen, again: the baseline against itself, which is the noise.",
    "MiB: saved for the backward pass, beyond what the frozen model saves. GiB: peak of a step on the GPU.",
    "Targets are goals. Of every case the worst that was measured is shown.",
    'Targets of the cases bank_*: by make bench ARGS="--cases bank", which has a page of its own.',
    *SIGNS,
]

WORDS = {
    "speed": "speed / that",
    "time": "time / that",
    "peak": "peak memory / that",
    "saved": "bytes saved above those",
    "adapters": "bytes of adapters / those",
}


def cell(bench: Bench, name: str) -> str:
    """A contestant's cell in the tables."""
    entry = bench.contestants.get(name)
    if entry is None or entry.status != "ok":
        return DASH if entry is None else {"oom": "OOM"}.get(entry.status, entry.status)
    parts = [f"{1000 * quartiles(entry.seconds).median:.2f} ms ×{len(entry.seconds)}"]
    if name != BASELINE:
        ratio, saved = bench.ratio(name), bench.saved(name)
        parts = [f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"] if ratio else parts
        parts += [] if saved is None else [f"{saved / MIB:+.1f} MiB".replace("-", "−")]
    parts += [] if entry.peak_bytes is None else [f"{entry.peak_bytes / GIB:.2f} GiB"]
    return ", ".join(parts)


@dataclass(frozen=True)
class Target:
    """A goal for one case, or for every case (None), of which the worst counts.

    speed: times as fast as `against`, at least. time, peak, adapters (bytes on the device): in units of those of
    `against`, at most. saved: beyond the frozen layer, in units of its input, at most. contestant: by default the
    library's own choice of algorithms.
    """

    case: str | None
    quantity: Literal["speed", "time", "peak", "saved", "adapters"]
    against: str
    bound: float
    contestant: str = OURS

    @property
    def statement(self) -> str:
        """The goal in words."""
        unit = " × input" if self.quantity == "saved" else ""
        sign = "≥" if self.quantity == "speed" else "≤"
        return f"{WORDS[self.quantity]} of {self.against} {sign} {self.bound}{unit}"

    def measured(self, bench: Bench) -> float | None:
        """The quantity; None if it was not measured, or is a time on a machine that was too busy."""
        if self.quantity == "saved":
            saved = bench.saved(self.contestant)
            return None if saved is None or bench.x_bytes is None else saved / bench.x_bytes
        if self.quantity in ("peak", "adapters"):
            of = bench.peak if self.quantity == "peak" else bench.adapter_bytes
            ours, theirs = of(self.contestant), of(self.against)
            return ours / theirs if ours and theirs else None
        pair = (self.contestant, self.against) if self.quantity == "time" else (self.against, self.contestant)
        ratio = bench.ratio(*pair) if bench.steady else None
        return ratio and ratio.median

    def worst(self, benches: Iterable[Bench]) -> tuple[Bench, float | None] | None:
        """The case, and its value; of several measured ones that furthest from the bound. None without any case."""
        found = [(one, self.measured(one)) for one in benches if self.case in (None, one.case)]
        sign = -1 if self.quantity == "speed" else 1
        return max(found, key=lambda pair: -math.inf if pair[1] is None else sign * pair[1], default=None)

    def verdict(self, value: float | None) -> str:
        """Whether a value reaches the bound, in words."""
        if value is None:
            return "not yet measured"
        return "reached" if (value >= self.bound if self.quantity == "speed" else value <= self.bound) else "missed"


TARGETS = [
    Target(None, "speed", PEFT, 1.0),
    Target(None, "time", LORA, 1.0, GRID),
    Target("layer_768_2048", "time", BASELINE, 1.4),
    Target("layer_768_2048", "speed", PEFT, 2.0),
    Target("layer_768_2048", "saved", BASELINE, 1.01),
    Target("layer_4096_2048", "time", BASELINE, 1.15),
    Target("layer_4096_2048", "speed", PEFT, 2.3),
    Target("layer_4096_2048", "saved", BASELINE, 1.01),
    Target("encoder_4_layers", "time", BASELINE, 1.1),
    Target("encoder_4_layers", "time", LORA, 1.03),
    Target("encoder_4_layers_all", "time", BASELINE, 1.4),
    Target("minilm_all", "time", BASELINE, 1.5),
    Target("layer_roberta_large", "speed", PEFT, 2.0),
    Target("layer_llama_7b", "speed", PEFT, 2.0),
    Target("roberta_large", "time", BASELINE, 1.05),
    Target("roberta_large", "time", LORA, 1.0),
    Target("roberta_large", "time", LORA, 0.95, GRID),
    Target("roberta_large", "peak", LORA, 1.0),
    Target("llama_7b", "time", LORA, 1.0),
    Target("llama_7b", "time", LORA, 0.95, GRID),
    Target("llama_7b", "peak", LORA, 1.0),
    *(
        Target(f"{model}_64_{phase}", "time", BASELINE, bound, contestant)
        for model in ("bank", "bank_llama_7b")
        for contestant, bound in (("bank_grid", 1.15), ("bank", 1.5))
        for phase in ("decode", "prefill")
    ),
    *(Target("bank_llama_7b_64_decode", "adapters", "lora_r16", 0.01, one) for one in ("bank_grid", "bank")),
]


def pages(benches: Sequence[Bench]) -> list[Page]:
    """The page; none where nothing was measured. One table per machine, contestants by cases, then the targets, also
    those of a bank, whose cases have a page of their own (`bank.py`)."""
    if not benches:
        return []
    steps = [bench for bench in benches if not bench.mix]
    tables = [_comparison(machine, cases) for machine, cases in by_machine(steps).items()]
    notes = [*NOTES, *described(steps)]
    return [Page("bench", TITLE, [*tables, targets(benches)], notes, index_note=f"cases: {len(steps)}")]


def described(benches: Iterable[Bench]) -> list[str]:
    """Notes that tell what the cases are."""
    return sorted({f"{bench.case}: {bench.description}" for bench in benches}, key=_natural)


def by_machine(benches: Iterable[Bench]) -> dict[str, list[Bench]]:
    """Machine -> its cases, of each the latest record."""
    machines: dict[str, dict[str, Bench]] = {}
    for bench in sorted(benches, key=lambda bench: (bench.machine, _natural(bench.case), bench.ended)):
        machines.setdefault(bench.machine, {})[bench.case] = bench
    return {machine: list(cases.values()) for machine, cases in machines.items()}


def _comparison(machine: str, cases: Sequence[Bench]) -> Table:
    names = dict.fromkeys(name for bench in cases for name in bench.contestants)
    rows = []
    for name in names:
        layers, _, mode = name.partition("_")
        rows.append([layers, mode or DASH, *(cell(bench, name) for bench in cases)])
    titles = [bench.title for bench in cases]
    return Table(f"Training steps on {machine}", ["Layers", "Mode", *titles], rows)


def targets(benches: Iterable[Bench]) -> Table:
    """The table of targets, one row per target and machine."""
    machines, rows = by_machine(benches), []
    for target in TARGETS:
        found = [(machine, *worst) for machine, cases in machines.items() if (worst := target.worst(cases))]
        for machine, bench, value in found or [(DASH, None, None)]:
            case = bench.title if bench else target.case or "every case"
            if bench and not target.case:
                case = f"every case: {case}"
            goal = [target.contestant, target.statement, number(value, 3), target.verdict(value)]
            rows.append([case, *goal, machine])
    return Table("Targets", ["Case", "Contestant", "Target", "Measured", "Verdict", "Machine"], rows)


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts layer_768 before layer_4096."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]

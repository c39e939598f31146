"""What `make bench` records of one case, and what the tables say of it: ratios with their noise, memory, targets."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, JsonValue, PositiveFloat, model_validator

from experiments.measure.timing import Quartiles, quartiles, ratios
from experiments.record import Count, Measured, Natural, Part
from experiments.report.page import Page
from experiments.report.render import DASH, Table

BASELINE, NOISE, OURS, LORA = "frozen", "frozen_again", "fourierft", "peft_lora"
GRID, PEFT = "fourierft_grid", "peft_fourierft"
ROUNDS = 3  # fewer are no measurement: their spread says nothing
UNSTEADY = 0.1  # the distance of the frozen step's quartiles above which nothing is measured, in its median
MIB, GIB = 2**20, 2**30
TITLE = "Speed and memory of a training step"
NOTES = [
    "Frozen: median milliseconds of a step, forward and backward down to the input, ×k over k interleaved rounds. "
    "Others: in units of the frozen step of the same round; the median, and the quartiles in brackets.",
    "Frozen, again: the baseline against itself, which is the noise.",
    "MiB: saved for the backward pass, beyond what the frozen model saves. GiB: peak of a step on the GPU.",
    "Targets are goals. Of every case the worst that was measured is shown.",
    f"{DASH}: not measured. OOM: out of memory. ‡ code not at a clean commit.",
    f"≀ no measurement: fewer than {ROUNDS} rounds, or the quartiles of the frozen step lie more than 10 % apart.",
]


class Entry(Part):
    """One contestant. `seconds`: its step, round by round; `saved_bytes`: kept for backward, parameters apart;
    `peak_bytes`: the most that a step had allocated on the GPU, what belongs to other contestants apart."""

    status: Literal["ok", "failed", "oom"]
    error: str | None = None
    seconds: list[PositiveFloat] = Field(default=[])
    saved_bytes: Count | None = None
    peak_bytes: Count | None = None

    @model_validator(mode="after")
    def _status_tells_the_truth(self) -> "Entry":
        if (self.status == "ok") != (self.error is None) or (self.status == "ok") != bool(self.seconds):
            raise ValueError(f"status {self.status!r} needs {'seconds' if self.status == 'ok' else 'an error'}, alone")
        return self


class Bench(Measured):
    """One case on one machine. `x_bytes`: the input of a case that is one layer. `settings`: of the adapters. `others`:
    the share of the cores' time that other processes took meanwhile."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    set: Literal["small", "full", "compiled"]
    case: str
    description: str
    x_bytes: Natural | None = None
    settings: dict[str, JsonValue]
    contestants: dict[str, Entry]
    others: float | None = Field(default=None, ge=0, le=1)
    threads: Natural

    @model_validator(mode="after")
    def _rounds_are_common(self) -> "Bench":
        if len(counts := {len(entry.seconds) for entry in self.contestants.values() if entry.seconds}) > 1:
            raise ValueError(f"contestants have {sorted(counts)} seconds; all take part in the same rounds")
        return self

    @property
    def place(self) -> str:
        return f"{self.set}/{self.case}.json"

    @property
    def identity(self) -> str:
        return f"{self.machine} {self.place} {self.ended}"

    @property
    def title(self) -> str:
        """The case, marked unless the code was at a clean commit and the machine was quiet."""
        return self.case + self.mark + ("" if self.steady else "≀")

    @property
    def spread(self) -> float | None:
        """The distance of the frozen step's quartiles, in units of its median; None if it was not measured."""
        seconds = self.contestants[BASELINE].seconds if BASELINE in self.contestants else []
        if not seconds:
            return None
        low, median, high = quartiles(seconds)
        return (high - low) / median

    @property
    def steady(self) -> bool:
        """Whether this is a measurement: not of few rounds, nor if the frozen step varied by more than a tenth."""
        return self.spread is None or (self.rounds >= ROUNDS and self.spread <= UNSTEADY)

    @property
    def rounds(self) -> int:
        """How often the frozen step was timed."""
        return len(self.contestants[BASELINE].seconds) if BASELINE in self.contestants else 0

    @property
    def noise(self) -> str:
        """How quiet the machine was."""
        others = "" if self.others is None else f"; other processes took {self.others:.0%} of the cores"
        verdict = "" if self.steady else "NOT A MEASUREMENT: "
        return f"{verdict}the frozen step varied by {self.spread or 0:.0%} over {self.rounds} rounds{others}"

    @property
    def machine(self) -> str:
        """What a time depends on: the device, the threads and torch."""
        gpu = self.hardware.device == "cuda"
        device = self.hardware.gpu if gpu else f"{self.hardware.cpu}, threads: {self.threads}"
        return f"{device}, torch {self.versions.get('torch', 'of unknown version')}"

    def ratio(self, name: str, other: str = BASELINE) -> Quartiles | None:
        """The time of one contestant in units of another's; None where either has none."""
        pair = [self.contestants[one].seconds for one in (name, other) if one in self.contestants]
        return ratios(*pair) if len(pair) == 2 and all(pair) else None

    def saved(self, name: str) -> int | None:
        """Bytes saved for the backward pass beyond the frozen model's; None where either was not measured."""
        pair = [self.contestants[one].saved_bytes for one in (name, BASELINE) if one in self.contestants]
        return pair[0] - pair[1] if len(pair) == 2 and None not in pair else None

    def peak(self, name: str) -> int | None:
        """Bytes a step had allocated on the GPU at most; None where that was not measured."""
        return self.contestants[name].peak_bytes if name in self.contestants else None

    def cell(self, name: str) -> str:
        """A contestant as the tables show it."""
        entry = self.contestants.get(name)
        if entry is None or entry.status != "ok":
            return DASH if entry is None else {"oom": "OOM"}.get(entry.status, entry.status)
        parts = [f"{1000 * quartiles(entry.seconds).median:.2f} ms ×{len(entry.seconds)}"]
        if name != BASELINE:
            ratio, saved = self.ratio(name), self.saved(name)
            parts = [f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"] if ratio else parts
            parts += [] if saved is None else [f"{saved / MIB:+.1f} MiB".replace("-", "−")]
        parts += [] if entry.peak_bytes is None else [f"{entry.peak_bytes / GIB:.2f} GiB"]
        return ", ".join(parts)


@dataclass(frozen=True)
class Target:
    """What a layer of this library is to reach in one case, or (None) in every case, of which the worst counts.

    speed: how many times as fast as `against`, at least. time, peak: in units of those of `against`, at most. saved:
    beyond the frozen layer, in units of its input, at most. contestant: by default what the library runs unasked.
    """

    case: str | None
    quantity: Literal["speed", "time", "peak", "saved"]
    against: str
    bound: float
    contestant: str = OURS

    @property
    def statement(self) -> str:
        """In words."""
        what = {
            "speed": "speed / that",
            "time": "time / that",
            "peak": "peak memory / that",
            "saved": "bytes saved above those",
        }
        sign, unit = "≥" if self.quantity == "speed" else "≤", " × input" if self.quantity == "saved" else ""
        return f"{what[self.quantity]} of {self.against} {sign} {self.bound}{unit}"

    def measured(self, bench: Bench) -> float | None:
        """The quantity; None where it was not measured, a time also where the machine was too busy for one."""
        if self.quantity in ("speed", "time") and not bench.steady:
            return None
        if self.quantity == "speed":
            ratio = bench.ratio(self.against, self.contestant)
        elif self.quantity == "time":
            ratio = bench.ratio(self.contestant, self.against)
        elif self.quantity == "saved":
            saved = bench.saved(self.contestant)
            return None if saved is None or bench.x_bytes is None else saved / bench.x_bytes
        else:
            ours, theirs = bench.peak(self.contestant), bench.peak(self.against)
            return ours / theirs if ours and theirs else None
        return ratio and ratio.median

    def worst(self, benches: Iterable[Bench]) -> tuple[Bench, float | None] | None:
        """The case that it speaks of, and its value; of several the one furthest from the bound, of those that were
        measured. None where there is no such case."""
        found = [(one, self.measured(one)) for one in benches if self.case in (None, one.case)]
        sign = -1 if self.quantity == "speed" else 1
        return max(found, key=lambda pair: -math.inf if pair[1] is None else sign * pair[1], default=None)

    def verdict(self, value: float | None) -> str:
        """Whether the measured value reaches the bound."""
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
]


def tables(benches: Iterable[Bench]) -> list[Table]:
    """One table a machine, contestants by cases, then the targets. The latest of a case on a machine counts."""
    machines = _by_machine(benches)
    return [*(_comparison(machine, cases) for machine, cases in machines.items()), _targets(machines)]


def pages(benches: Sequence[Bench]) -> list[Page]:
    """The page; none where nothing was measured."""
    notes, note = [*NOTES, *descriptions(benches)], f"cases: {len(benches)}"
    return [Page("bench", TITLE, tables(benches), notes, index_note=note)] if benches else []


def targets(benches: Iterable[Bench]) -> Table:
    """The targets alone."""
    return _targets(_by_machine(benches))


def _by_machine(benches: Iterable[Bench]) -> dict[str, list[Bench]]:
    machines: dict[str, dict[str, Bench]] = {}
    for bench in sorted(benches, key=lambda bench: (bench.machine, _natural(bench.case), bench.ended)):
        machines.setdefault(bench.machine, {})[bench.case] = bench
    return {machine: list(cases.values()) for machine, cases in machines.items()}


def descriptions(benches: Iterable[Bench]) -> list[str]:
    """What each case is, a line each."""
    return sorted({f"{bench.case}: {bench.description}" for bench in benches}, key=_natural)


def _comparison(machine: str, cases: Sequence[Bench]) -> Table:
    names = dict.fromkeys(name for bench in cases for name in bench.contestants)
    rows = []
    for name in names:
        layers, _, mode = name.partition("_")
        rows.append([layers, mode or DASH, *(bench.cell(name) for bench in cases)])
    titles = [bench.title for bench in cases]
    return Table(f"Training steps on {machine}", ["Layers", "Mode", *titles], rows)


def _targets(machines: dict[str, list[Bench]]) -> Table:
    rows = []
    for target in TARGETS:
        held = {machine: worst for machine, cases in machines.items() if (worst := target.worst(cases))}
        for machine, (bench, value) in held.items():
            case = bench.title if target.case else f"every case: {bench.title}"
            rows.append([case, *_of(target, value), machine])
        if not held:
            rows.append([target.case or "every case", *_of(target, None), DASH])
    return Table("Targets", ["Case", "Contestant", "Target", "Measured", "Verdict", "Machine"], rows)


def _of(target: Target, value: float | None) -> list[str]:
    return [target.contestant, target.statement, _number(value), target.verdict(value)]


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders layer_768 before layer_4096."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]

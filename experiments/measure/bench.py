"""The record of one case of the bench: time and memory of every contestant's training step."""

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from experiments.measure.timed import Timed, Timings
from experiments.measure.timing import Quartiles, quartiles, ratios
from experiments.record import Count, Natural, Part

BASELINE, NOISE, OURS, LORA = "frozen", "frozen_again", "fourierft", "peft_lora"
GRID, PEFT = "fourierft_grid", "peft_fourierft"
ROUNDS = 3  # with fewer, the spread is meaningless
UNSTEADY = 0.1  # the largest spread of the frozen step that counts as a measurement


class Served(Part):
    """What a contestant takes to serve adapters.

    adapter_bytes: of all adapters on the device; disk_bytes: of their files; extra_bytes: on the device beyond these
    and the frozen model, e.g. tables that adapters share. read_bytes: weights, and adapters of the rows, that a step
    reads at least. operations: of torch that a step calls. flops: in products that torch knows of, of a step.
    """

    adapter_bytes: Count
    disk_bytes: Count
    extra_bytes: Count
    read_bytes: Count
    operations: Count
    flops: Count


class Entry(Timed):
    """The step of one contestant.

    saved_bytes: saved for the backward pass, without parameters. peak_bytes: allocated on the GPU at most, without what
    belongs to other contestants. served: if the case serves adapters.
    """

    saved_bytes: Count | None = None
    peak_bytes: Count | None = None
    served: Served | None = None


class Mix(Part):
    """A step that serves adapters: how many there are, and its tokens in all rows."""

    phase: Literal["decode", "prefill"]
    adapters: Natural
    tokens: Natural


class Bench(Timings):
    """One case on one machine.

    x_bytes: the input, if the case is one layer. mix: if it serves adapters. settings: of the adapters. others: the
    share of the cores' time that other processes used meanwhile.
    """

    case: str
    description: str
    x_bytes: Natural | None = None
    mix: Mix | None = None
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
    def device(self) -> str:
        """The GPU, else the CPU and the number of threads."""
        return self.hardware.gpu or f"{self.hardware.cpu}, threads: {self.threads}"

    @property
    def title(self) -> str:
        """The case, with marks for dirty code (‡) and a busy machine (≀)."""
        return self.case + self.mark + ("" if self.steady else "≀")

    @property
    def spread(self) -> float | None:
        """The distance of the frozen step's quartiles, in units of its median; None if it was not timed."""
        if not self.rounds:
            return None
        low, median, high = quartiles(self.contestants[BASELINE].seconds)
        return (high - low) / median

    @property
    def steady(self) -> bool:
        """Whether this is a measurement: enough rounds, in which the frozen step varied by a tenth at most."""
        return not self.rounds or (self.rounds >= ROUNDS and self.spread <= UNSTEADY)

    @property
    def rounds(self) -> int:
        """The number of times the frozen step was timed."""
        return len(self.contestants[BASELINE].seconds) if BASELINE in self.contestants else 0

    @property
    def noise(self) -> str:
        """How busy the machine was, in words."""
        others = "" if self.others is None else f"; other processes took {self.others:.0%} of the cores"
        verdict = "" if self.steady else "NOT A MEASUREMENT: "
        return f"{verdict}the frozen step varied by {self.spread or 0:.0%} over {self.rounds} rounds{others}"

    def ratio(self, name: str, other: str = BASELINE) -> Quartiles | None:
        """The time of one contestant in units of another's; None unless both were timed."""
        pair = [self.contestants[one].seconds for one in (name, other) if one in self.contestants]
        return ratios(*pair) if len(pair) == 2 and all(pair) else None

    def saved(self, name: str) -> int | None:
        """Bytes saved for the backward pass beyond the frozen model's; None unless both were measured."""
        pair = [self.contestants[one].saved_bytes for one in (name, BASELINE) if one in self.contestants]
        return pair[0] - pair[1] if len(pair) == 2 and None not in pair else None

    def peak(self, name: str) -> int | None:
        """Peak bytes on the GPU; None if not measured."""
        return self.contestants[name].peak_bytes if name in self.contestants else None

    def adapter_bytes(self, name: str) -> int | None:
        """Bytes of all adapters on the device; None if not measured."""
        served = self.contestants[name].served if name in self.contestants else None
        return served and served.adapter_bytes

    def tokens_per_s(self, name: str) -> float | None:
        """Tokens a second, of all rows; None unless the contestant was timed, in a case that serves adapters."""
        seconds = self.contestants[name].seconds if name in self.contestants else []
        return self.mix.tokens / quartiles(seconds).median if self.mix and seconds else None

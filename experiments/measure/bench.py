"""What the bench records of one case: the time and the memory of every contestant's training step."""

from pydantic import Field, JsonValue, model_validator

from experiments.measure.timed import Timed, Timings
from experiments.measure.timing import Quartiles, quartiles, ratios
from experiments.record import Count, Natural

BASELINE, NOISE, OURS, LORA = "frozen", "frozen_again", "fourierft", "peft_lora"
GRID, PEFT = "fourierft_grid", "peft_fourierft"
ROUNDS = 3  # fewer are no measurement: their spread says nothing
UNSTEADY = 0.1  # the distance of the frozen step's quartiles above which nothing is measured, in its median


class Entry(Timed):
    """One contestant. `seconds`: its step, round by round; `saved_bytes`: kept for backward, parameters apart;
    `peak_bytes`: the most that a step had allocated on the GPU, what belongs to other contestants apart."""

    saved_bytes: Count | None = None
    peak_bytes: Count | None = None


class Bench(Timings):
    """One case on one machine. `x_bytes`: the input of a case that is one layer. `settings`: of the adapters. `others`:
    the share of the cores' time that other processes took meanwhile."""

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
    def device(self) -> str:
        """The GPU, or else the CPU and the threads on it."""
        return self.hardware.gpu or f"{self.hardware.cpu}, threads: {self.threads}"

    @property
    def title(self) -> str:
        """The case, marked unless the code was at a clean commit and the machine was quiet."""
        return self.case + self.mark + ("" if self.steady else "≀")

    @property
    def spread(self) -> float | None:
        """The distance of the frozen step's quartiles, in units of its median; None if it was not measured."""
        if not self.rounds:
            return None
        low, median, high = quartiles(self.contestants[BASELINE].seconds)
        return (high - low) / median

    @property
    def steady(self) -> bool:
        """Whether this is a measurement: not of few rounds, nor if the frozen step varied by more than a tenth."""
        return not self.rounds or (self.rounds >= ROUNDS and self.spread <= UNSTEADY)

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

"""What the expressive-power study varies and what it records: one record per variant and method, over all seeds.

The paper leaves much open. The same in all variants: centres at a distance of 5 with Gaussian noise of 0.6 (neighbours
nearly touch, and training the whole layer does separate them), 30 points per class, Adam on all points at once, and an
equal search for every method's learning rate and scale alpha. The variants change what may decide the outcome: whether
the layers around the adapted one train, what the frozen layer holds, and where the centres lie.
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from experiments.record import Count, Measured, Natural, Part, compare
from experiments.trials import Edges, edges

CLASSES, PER_CLASS = 8, 30
RADIUS, NOISE = 5.0, 0.6  # of the ring of centres; standard deviation around each
SPACING = 3.0  # between centres that are drawn, at least: five standard deviations, touching
EXTENT = 7.0  # of the plane that is shown, as the paper's axes
SETTINGS = {"per_class": PER_CLASS, "radius": RADIUS, "noise": NOISE, "spacing": SPACING}

Method = Literal["lora", "fourierft", "full", "none"]
TITLES: dict[Method, str] = {"lora": "LoRA r=1", "fourierft": "FourierFT n=128", "full": "all of ΔW", "none": "no ΔW"}


class Variant(Part):
    """One way to fill in what the paper leaves open.

    around: whether the layers 2 -> 64 and 64 -> 8 stay as they were drawn or train too. hidden: what the frozen 64 x 64
    weight holds, under the change that trains. centres: on a ring, or drawn in the square of Figure 7's axes.
    """

    name: str
    title: str
    around: Literal["frozen", "trained"] = "frozen"
    hidden: Literal["random", "zero"] = "random"
    centres: Literal["ring", "scattered"] = "ring"

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods that compete; where the layers around the hidden one train, no change is one of them."""
        changes: tuple[Method, ...] = ("lora", "fourierft", "full")
        return (*changes, "none") if self.around == "trained" and self.hidden == "random" else changes


# The first gives the verdict: the question is what 128 numbers can express, so nothing but them trains.
BASE = Variant(name="base", title="the change alone trains")
VARIANTS = (
    BASE,
    Variant(name="around", title="the layers around train too", around="trained"),
    Variant(name="replaced", title="they train, frozen W = 0", around="trained", hidden="zero"),
    Variant(name="scattered", title="as the first, centres drawn", centres="scattered"),
    Variant(name="zero", title="as the first, frozen W = 0", hidden="zero"),
)


class Trial(Part):
    """One setting tried on the seeds of the search. epochs: the mean number until all points were right, where a seed
    that never got there counts one past the last; loss: the mean at the end, None where it diverged."""

    rate: PositiveFloat
    alpha: PositiveFloat
    epochs: NonNegativeFloat
    loss: NonNegativeFloat | None

    @property
    def key(self) -> tuple[float, float]:
        """The sort key of trials, the best first."""
        return self.epochs, float("inf") if self.loss is None else self.loss


class Sample(Part):
    """One seed to draw: its points, (samples, 2), sorted by class, and the class at each point of a square grid over
    [-EXTENT, EXTENT], row by row from the bottom, one digit per point."""

    seed: Count
    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]]
    regions: list[Annotated[str, Field(pattern=r"^[0-7]+$")]]


class Contest(Measured):
    """One method under one variant, over all seeds.

    parameters: trained, in the change and around it. rate, alpha: the best of `trials`. samples: points of each seed.
    epochs: those at which `correct` was counted, one list per seed; epoch e is after e updates. first: per seed the
    first epoch with every point right, or None. loss: per seed the final mean cross-entropy (nats).
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    scale: Literal["paper"]
    variant: Variant
    method: Method
    parameters: dict[Literal["change", "around"], Count]
    settings: dict[str, float]
    search_seeds: list[Count]
    trials: Annotated[list[Trial], Field(min_length=1)]
    rate: PositiveFloat
    alpha: PositiveFloat
    seeds: Annotated[list[Count], Field(min_length=1)]
    samples: Natural
    epochs: list[Count]
    correct: list[list[Count]]
    first: list[Count | None]
    loss: list[NonNegativeFloat]
    sample: Sample
    threads: Natural

    @property
    def place(self) -> str:
        return f"{self.variant.name}_{self.method}.json"

    @model_validator(mode="after")
    def _follows_from_its_counts(self) -> "Contest":
        best = min(self.trials, key=lambda trial: trial.key)
        compare("rate and alpha", (self.rate, self.alpha), (best.rate, best.alpha))
        compare("parameters", sorted(self.parameters), ["around", "change"])
        compare("the order of the epochs", self.epochs, sorted(set(self.epochs)))
        for name in ("correct", "first", "loss"):
            compare(f"the number of seeds of {name}", len(getattr(self, name)), len(self.seeds))
        for first, counts in zip(self.first, self.correct, strict=True):
            compare("the number of epochs of correct", len(counts), len(self.epochs))
            compare("the most of correct", min(max(counts), self.samples), max(counts))
            solved = [epoch for epoch, count in zip(self.epochs, counts, strict=True) if count == self.samples]
            known = first is None or first in self.epochs  # else it lies between two of them
            compare("first", first, next(iter(solved), None) if known else min([first, *solved]))
        compare("the number of points", len(self.sample.points), self.samples)
        compare("the widths of regions", {len(row) for row in self.sample.regions}, {len(self.sample.regions)})
        return self

    @property
    def edges(self) -> Edges:
        """Of rate and alpha, unless one value alone was tried."""
        tried = [{"rate": trial.rate, "alpha": trial.alpha} for trial in self.trials]
        chosen = {"rate": self.rate, "alpha": self.alpha}
        return edges({key: value for key, value in chosen.items() if len({one[key] for one in tried}) > 1}, tried)

    @property
    def solved(self) -> list[int]:
        """The first epoch with every point right, for the seeds that have one, sorted."""
        return sorted(epoch for epoch in self.first if epoch is not None)

    @property
    def accuracy(self) -> list[list[float]]:
        """In percent: for each of `epochs` a list with one value per seed."""
        return [[100 * count / self.samples for count in counts] for counts in zip(*self.correct, strict=True)]

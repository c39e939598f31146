"""The parts of a run's record: where its model and data came from, its scores, cost, ranks and judge."""

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, model_validator

from experiments.record.document import Count, Natural, Part, Time, compare

EPS = 2.0**-23  # of float32, which sets the tolerance of a numerical rank

Split = Literal["train", "validation", "test"]
# Fractions; correlations (STS-B, CoLA) may be negative.
Score = Annotated[float, Field(ge=-1, le=1)]


class Origin(Part):
    """Where a model came from, exactly enough to fetch it again."""

    name: str
    source: Literal["local", "hub", "embedded"]
    id: str
    revision: str | None = None
    sha256: str | None = None


class Dataset(Origin):
    """Where the data came from, and the number of rows of each split that was used.

    skipped: rows of each split that were left out because they could not be read.
    """

    rows: dict[Split, Count]
    skipped: dict[Split, Count] | None = None


class Params(Part):
    """Exact parameter counts. `adapter` excludes the head, as the paper's counts do; `adapter_bytes` is 4 each.

    stored_values, stored_bytes: of the files that were written, head included. stored_sha256: the digest of their
    tensors, as `stored_sha256` of experiments/methods/base.py gives it. Older records of schema 1 lack some of these.
    """

    adapter: Count
    head: Count
    total: Count
    adapter_bytes: Count
    stored_values: Count | None = None
    stored_bytes: Count | None = None
    stored_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _adds_up(self) -> "Params":
        compare("adapter_bytes", self.adapter_bytes, 4 * self.adapter)
        if self.adapter + self.head > self.total:
            raise ValueError(f"adapter and head are {self.adapter + self.head}, more than the total, {self.total}")
        return self


Selection = Literal["best", "last"]


class Selections(Part):
    """Every metric under both selections: the best epoch on validation (the paper's protocol) and the last epoch."""

    best: dict[str, float]
    last: dict[str, float]


class Metrics(Part):
    """Scores as fractions. `per_epoch` holds one dict per epoch: "epoch" and every metric.

    All are measured on the validation set, which selects the best epoch, except `test`: on the test set, where the task
    has one.
    """

    primary: str
    direction: Literal["max", "min"]
    best: Score
    best_epoch: NonNegativeFloat
    last: Score
    per_epoch: Annotated[list[dict[str, float]], Field(min_length=1)]
    all: Selections
    test: Selections | None = None

    @classmethod
    def of(cls, primary: str, direction: Literal["max", "min"], per_epoch: list[dict[str, float]]) -> "Metrics":
        """The metrics of these epochs, given in order."""
        derived = _derived(primary, direction, per_epoch)
        return cls(primary=primary, direction=direction, per_epoch=per_epoch, **derived)

    @property
    def best_index(self) -> int:
        """The index of the best epoch in `per_epoch`."""
        return self.per_epoch.index(self.all.best)

    @property
    def best_is_last(self) -> bool:
        """Whether the best epoch is the last one."""
        return self.best_index == len(self.per_epoch) - 1

    @property
    def scored(self) -> Selections:
        """The metrics that count: of the test set, or of validation where the task has no test set."""
        return self.test or self.all

    def score(self, selection: Selection, metric: str | None = None) -> float:
        """The metric that counts, the primary one by default. Raises KeyError: it was not measured."""
        return getattr(self.scored, selection)[metric or self.primary]

    @model_validator(mode="after")
    def _follows_from_the_epochs(self) -> "Metrics":
        name, names = self.primary, self.per_epoch[0].keys()
        if not names >= {"epoch", name} or any(epoch.keys() != names for epoch in self.per_epoch):
            raise ValueError(f"per_epoch needs epoch and {name}, and the same metrics in every epoch")
        epochs = [epoch["epoch"] for epoch in self.per_epoch]
        compare("the order of the epochs", epochs, sorted(epochs))
        for field, value in _derived(name, self.direction, self.per_epoch).items():
            compare(field, getattr(self, field), value)
        for selection, found in self.test or ():
            value = found.get(name)
            if value is None or not -1 <= value <= 1:
                raise ValueError(f"test.{selection} needs {name} as a fraction, got {value}")
        if self.test and self.best_is_last:
            compare("test.best", self.test.best, self.test.last)
        return self


def _derived(primary: str, direction: Literal["max", "min"], per_epoch: list[dict[str, float]]) -> dict[str, Any]:
    """The fields that follow from the epochs: the best epoch (the first of equal ones) and the last."""
    sign = 1 if direction == "max" else -1
    best, last = max(per_epoch, key=lambda epoch: sign * epoch[primary]), per_epoch[-1]
    scores = {"best": best[primary], "best_epoch": best["epoch"], "last": last[primary]}
    return {**scores, "all": Selections(best=best, last=last)}


class Cost(Part):
    """Seconds, steps and bytes. `saved_bytes`: what one training step keeps for its backward pass. test_s: scoring the
    test set, for both selections.

    samples_per_s, eval_samples_per_s, loader_samples_per_s: examples a second of training, of evaluation, and of the
    data loader alone, without the model.
    """

    train_s: NonNegativeFloat
    eval_s: NonNegativeFloat
    steps: Count
    samples_per_s: NonNegativeFloat
    peak_memory_bytes: Count | None = None
    saved_bytes: Count | None = None
    eval_samples_per_s: NonNegativeFloat | None = None
    loader_samples_per_s: NonNegativeFloat | None = None
    test_s: NonNegativeFloat | None = None


class MatrixRank(Part):
    """The spectrum of one delta_W (out, in); see `experiments.measure.rank` for the definitions."""

    name: str
    shape: Annotated[list[Natural], Field(min_length=2, max_length=2)]
    numerical_rank: Count
    effective_rank: NonNegativeFloat
    frobenius_norm: NonNegativeFloat
    spectral_norm: NonNegativeFloat
    singular_values: list[NonNegativeFloat]

    @model_validator(mode="after")
    def _follows_from_the_spectrum(self) -> "MatrixRank":
        values, digits = self.singular_values, 1e-3  # they are kept to 4 significant digits
        compare("the number of singular values", len(values), min(self.shape))
        compare("the order of singular_values", values, sorted(values, reverse=True))
        compare("spectral_norm", self.spectral_norm, values[0], digits)
        compare("frobenius_norm", self.frobenius_norm, math.hypot(*values), digits)
        total = sum(values)
        entropy = -sum(value / total * math.log(value / total) for value in values if value)
        compare("effective_rank", self.effective_rank, math.exp(entropy) if total else 0.0, digits)
        floor = max(self.shape) * EPS * self.spectral_norm
        least, most = (sum(value > floor * near for value in values) for near in (1 + digits, 1 - digits))
        compare("numerical_rank", self.numerical_rank, min(max(self.numerical_rank, least), most))
        return self


class Matrices(Part):
    """`count` adapted matrices of one shape, (out, in)."""

    shape: list[Natural]
    count: Natural

    @classmethod
    def of(cls, shapes: Iterable[Sequence[int]]) -> list["Matrices"]:
        """The matrices of these shapes."""
        counted = Counter(map(tuple, shapes))
        return [cls(shape=list(shape), count=count) for shape, count in sorted(counted.items())]


class Spread(Part):
    """Smallest, median and largest value over the matrices."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The spread of one value or more."""
        ordered = sorted(values)
        return cls(min=ordered[0], median=statistics.median(ordered), max=ordered[-1])


class RankSummary(Part):
    """Both ranks over all adapted matrices."""

    count: Count
    numerical_rank: Spread
    effective_rank: Spread

    @classmethod
    def of(cls, matrices: Sequence[MatrixRank]) -> "RankSummary":
        """The summary of one matrix or more."""
        return cls(
            count=len(matrices),
            numerical_rank=Spread.of(matrix.numerical_rank for matrix in matrices),
            effective_rank=Spread.of(matrix.effective_rank for matrix in matrices),
        )


class Rank(Part):
    """The rank analysis of a run: per matrix and in summary."""

    tolerance: str
    matrices: Annotated[list[MatrixRank], Field(min_length=1)]
    summary: RankSummary

    @model_validator(mode="after")
    def _sums_up_the_matrices(self) -> "Rank":
        compare("summary", self.summary, RankSummary.of(self.matrices))
        return self


Rule = Literal["agreed", "fastchat"]


class Judge(Part):
    """Who graded a run's answers, and at what cost. Scores by different judges are not comparable.

    name: the model asked for. revision: what the endpoint calls the model that answered, or what the user did. prompts:
    the SHA-256 over the files of prompts, questions and reference answers. judgments: grades asked for; failures: those
    in which no score was found, left out of the means. cost_usd: where prices were given. rule: which number of a
    judgment is its score (experiments.judging.rating); older records have FastChat's.
    """

    name: str
    revision: str | None
    prompts: str
    rule: Rule = "fastchat"
    judgments: Count
    failures: Count
    prompt_tokens: Count
    completion_tokens: Count
    cost_usd: NonNegativeFloat | None = None
    ended: Time

    @property
    def label(self) -> str:
        """The name of the judge's folders and files."""
        return judge_label(self.name, self.revision, self.rule)


def judge_label(name: str, revision: str | None, rule: Rule) -> str:
    """`Judge.label`, safe for a path: name@revision@rule, without a revision that is the name, and FastChat's rule."""
    full = "@".join(filter(None, (name, revision if revision != name else None, rule if rule != "fastchat" else None)))
    return re.sub(r"[^A-Za-z0-9_.@-]+", "_", full).lstrip(".") or "_"


class Tracked(Part):
    """Where the curves are."""

    mode: Literal["offline", "online", "off"]
    id: str | None = None
    path: str | None = None

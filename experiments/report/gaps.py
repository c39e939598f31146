"""The gap between two methods over their seeds: tests of difference and of equivalence, and the seeds they would take.

A question about a gap is answered by one-sided t-tests. Where both methods have the same seeds they are paired: such
runs share the order of the data and the start of the head, and their scores rise and fall together. Elsewhere they are
Welch's. That a gap is not significant never counts as level: level is what two one-sided tests show to be within the
margin (Schuirmann 1987).
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from experiments.report.render import number, signed
from experiments.report.verdicts import CANNOT_TELL, FEWEST, LEVEL, Answer

MARGIN = 1.0  # points: a smaller gap counts as none
SIGNIFICANCE = 0.05  # of all tests of one claim together
POWER, MOST = 0.8, 50  # of the seeds that would decide: with which chance, and how many are counted at most


class Bound(NamedTuple):
    """A one-sided test: whether the gap is above a value (side 1) or below it (side -1)."""

    side: int
    value: float
    level: float


class Option(NamedTuple):
    """An answer to a question about a gap, in words, and the tests that must all say so."""

    answer: Answer
    words: str
    tests: tuple[Bound, ...]


Question = Sequence[Option]  # the first option that the tests confirm is the answer


def difference(comparisons: int = 1, margin: float = MARGIN) -> Question:
    """Whether ours are above theirs, below, or level. comparisons: of one claim, among which the level is shared out
    (Bonferroni)."""
    level = SIGNIFICANCE / comparisons
    return (
        Option(True, "above", (Bound(1, 0, level / 2),)),
        Option(False, "below", (Bound(-1, 0, level / 2),)),
        Option(LEVEL, LEVEL, (Bound(1, -margin, level), Bound(-1, margin, level))),
    )


def no_loss(comparisons: int = 1, margin: float = MARGIN) -> Question:
    """Whether ours are worse than theirs by less than the margin, or by more. comparisons: as for `difference`."""
    level = SIGNIFICANCE / comparisons
    return (
        Option(True, "not worse", (Bound(1, -margin, level),)),
        Option(False, "worse", (Bound(-1, -margin, level),)),
    )


class Judged(NamedTuple):
    """What the tests say of a gap: the answer, and the gap and the answer in words."""

    answer: Answer
    said: str


@dataclass(frozen=True)
class Gap:
    """Ours minus theirs. samples: the differences, seed by seed; ours and theirs where the seeds are not the same."""

    samples: tuple[tuple[float, ...], ...]

    @classmethod
    def between(cls, ours: Mapping[int, float], theirs: Mapping[int, float]) -> "Gap":
        """The gap of two methods, given the score of each seed."""
        if ours.keys() == theirs.keys():
            return cls((tuple(ours[seed] - theirs[seed] for seed in ours),))
        return cls((tuple(ours.values()), tuple(theirs.values())))

    @property
    def mean(self) -> float:
        """The mean of ours minus that of theirs."""
        first, *second = map(statistics.fmean, self.samples)
        return first - sum(second)

    @property
    def seeds(self) -> int:
        """The smaller number of both sides."""
        return min(map(len, self.samples))

    def answer(self, question: Question) -> Answer:
        """The answer of the first option that the tests confirm; None without one. Fewer than FEWEST seeds decide
        nothing."""
        told = self.seeds >= FEWEST
        return next((option.answer for option in question if told and all(map(self._says, option.tests))), None)

    def judged(self, question: Question, digits: int = 2) -> Judged:
        """The answer, and such as "+0.40 (0.11): above": the mean, its standard error, the answer in words; where there
        is none, how many seeds would decide."""
        mean, answer = signed(self.mean, digits), self.answer(question)
        if self.seeds < FEWEST:
            return Judged(answer, f"{mean}: too few seeds")
        words = {option.answer: option.words for option in question}.get(answer)
        words = words or f"{CANNOT_TELL}, {would_decide(lambda seeds: self._chance(question, seeds))}"
        return Judged(answer, f"{mean} ({number(self._error()[0], digits)}): {words}")

    def _error(self, seeds: int | None = None) -> tuple[float, float]:
        """The standard error of the mean, and its degrees of freedom (Welch and Satterthwaite), with `seeds` on each
        side or with those that there are."""
        counts = [seeds or len(sample) for sample in self.samples]
        shares = [statistics.variance(sample) / count for sample, count in zip(self.samples, counts, strict=True)]
        parts = sum(share**2 / (count - 1) for share, count in zip(shares, counts, strict=True))
        return sum(shares) ** 0.5, sum(shares) ** 2 / parts if parts else min(counts) - 1

    def _says(self, test: Bound) -> bool:
        from scipy.stats import t  # a second to import

        error, freedom = self._error()
        return bool(test.side * (self.mean - test.value) > t.isf(test.level, freedom) * error)

    def _chance(self, question: Question, seeds: int) -> float:
        """A lower bound of the chance that some option is confirmed, were mean and variances the true ones."""
        chances = [[self._power(test, seeds) for test in option.tests] for option in question]
        return max(sum(own) - (len(own) - 1) for own in chances)

    def _power(self, test: Bound, seeds: int) -> float:
        from scipy.stats import nct, t

        error, freedom = self._error(seeds)
        shift = test.side * (self.mean - test.value)
        return float(nct.sf(t.isf(test.level, freedom), freedom, shift / error)) if error else float(shift > 0)


def would_decide(chance: Callable[[int], float]) -> str:
    """In words, the fewest seeds that decide with a chance of POWER. chance: of that, given their number."""
    enough = next((seeds for seeds in range(FEWEST, MOST + 1) if chance(seeds) >= POWER), None)
    return f"about {enough} seeds would decide" if enough else f"more than {MOST} seeds would decide"

"""A claim of the paper, where it was tested, and what follows: the verdict, and the words for scale small.

The two never mix: the verdict is of the paper's models on the paper's data, whatever a smaller model did. Scale mini is
a demonstration; it is told, and counts for neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from experiments.report.render import DASH, Table, span

REPRODUCED, NOT_REPRODUCED, NOT_MEASURED = "reproduced", "not reproduced", "not yet measured"
CANNOT_TELL = "cannot tell"
SCALES = ("paper", "full size", "small", "mini")  # in the order of what they say about the paper
FEWEST = 3  # seeds that decide anything: of fewer the spread is not known


@dataclass(frozen=True)
class Outcome:
    """Whether a claim holds in one place; None where that place cannot tell.

    where: a task or a model, as the page says it. seeds: behind it; None where no seed could change it, as of a count.
    size: of the method, where it has several there. evidence: whether the runs may decide anything.
    """

    scale: str
    where: str
    holds: bool | None
    seeds: int | None = None
    size: str = ""
    evidence: bool = True


@dataclass(frozen=True)
class Claim:
    """A claim of the paper beside what was measured.

    measured: sentences, and tables where there are many. pages: the keys of those that show more. whole: whether
    everything that could refute it was measured. question: no claim of the paper but a question that it leaves open, to
    be answered by yes or no. counted: what outcomes without seeds are.
    """

    name: str
    statement: str
    measured: tuple[str | Table, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    pages: tuple[str, ...] = ()
    whole: bool = True
    question: bool = False
    counted: str = ""

    @property
    def verdict(self) -> str:
        """At the paper's scale, where one failure is enough to refute."""
        holds = {one.holds for one in self.outcomes if one.scale in SCALES[:2] and one.evidence}
        if False in holds:
            return NOT_REPRODUCED
        if not holds or not self.whole:
            return NOT_MEASURED
        return CANNOT_TELL if None in holds else REPRODUCED

    @property
    def smaller(self) -> str:
        """At scale small: "holds (STS-B; 3 seeds)", "does not hold (...)", both as "mixed (...)", "cannot tell (...)",
        "too few seeds (1)", "holds in 2 of 3 cases" of what has no seeds, or a dash."""
        found = [one for one in self.outcomes if one.scale == "small"]
        if found and found[0].seeds is None:
            return f"holds in {sum(bool(one.holds) for one in found)} of {len(found)} {self.counted}"
        decided = [one for one in found if _seeds(one) >= FEWEST]
        if not decided:
            return f"too few seeds ({span(map(_seeds, found))})" if found else DASH
        kinds = {True: "holds", False: "does not hold", None: CANNOT_TELL}
        groups = {said: [one for one in decided if one.holds is holds] for holds, said in kinds.items()}
        places = {said: _places(own, decided) for said, own in groups.items() if own}
        if len(places) == 1:
            ((said, where),) = places.items()
        else:
            said, where = "mixed", " / ".join(f"{said}: {where}" for said, where in places.items())
        text = f"{said} ({where}; {span(map(_seeds, decided))} seeds)"
        return text + "; elsewhere too few seeds" * (len(decided) < len(found))


def _seeds(outcome: Outcome) -> int:
    """Those that count: none where the runs are no evidence."""
    return (outcome.seeds or 0) if outcome.evidence else 0


def _places(outcomes: Iterable[Outcome], every: Iterable[Outcome]) -> str:
    """Where, each once; with the sizes where another size came out otherwise."""
    own, others = list(outcomes), list(every)
    split = {one.where for one in own for other in others if one.where == other.where and one.holds != other.holds}
    return "; ".join(dict.fromkeys(f"{one.where} at {one.size}" if one.where in split else one.where for one in own))


def by_scale(rows: Iterable[list[str]]) -> list[list[str]]:
    """Rows whose first cell is a scale: the paper's first, and otherwise as they came."""
    return sorted(rows, key=lambda row: SCALES.index(row[0]))

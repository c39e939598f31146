"""A claim of the paper, its outcomes, and what follows from them: the verdict, and the summary of scale small.

The two are kept apart: the verdict follows from the paper's models on the paper's data alone. Scale mini is a
demonstration: it is reported, and decides nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from experiments.report.render import DASH, Table, span

REPRODUCED, NOT_REPRODUCED, NOT_MEASURED = "reproduced", "not reproduced", "not yet measured"
CANNOT_TELL, LEVEL = "cannot tell", "level"
AT_EDGE = "; a search ended at an edge"
SCALES = ("paper", "full size", "small", "mini")  # by how much they say about the paper
FEWEST = 3  # seeds that are needed to decide anything: with fewer the spread is unknown

# Whether a claim holds. LEVEL: it claims a difference, which was shown to be smaller than the margin. None: undecided.
Answer = bool | Literal["level"] | None
FROM_THE_WEAKEST: tuple[Answer, ...] = (False, None, LEVEL, True)
WORDS: dict[Answer, str] = {True: "holds", False: "does not hold", LEVEL: LEVEL, None: CANNOT_TELL}


def weakest(answers: Iterable[Answer]) -> Answer:
    """The answer of all together, one at least: a claim holds if it does everywhere, and fails if it does once."""
    return min(answers, key=FROM_THE_WEAKEST.index)


@dataclass(frozen=True)
class Outcome:
    """Whether a claim holds in one place.

    where: a task or a model, as the page names it. seeds: how many are behind it; None for exact counts, which no seed
    changes. size: of the method, where several were run there. evidence: whether the runs may decide anything.
    at_edge: whether a search behind them ended at an edge of what it tried; `holds` is None then. said: what was
    tested, in words.
    """

    scale: str
    where: str
    holds: Answer
    seeds: int | None = None
    size: str = ""
    evidence: bool = True
    at_edge: bool = False
    said: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and what was measured of it.

    measured: sentences and tables. pages: the keys of the pages with details. whole: whether everything that a
    confirmation needs was measured. question: whether it is not a claim but a question that the paper leaves open,
    answered by yes or no. counted: what an outcome without seeds is, such as runs.
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
        """At the paper's scale, where the weakest outcome decides: one that fails refutes the claim."""
        found = [one.holds for one in self.outcomes if one.scale in SCALES[:2] and one.evidence]
        if not found or (not self.whole and False not in found):
            return NOT_MEASURED
        return {**WORDS, True: REPRODUCED, False: NOT_REPRODUCED}[weakest(found)]

    @property
    def small_scale(self) -> str:
        """At scale small: "holds (STS-B; 3 seeds)", or another of WORDS; several of them as "mixed (...)"; "too few
        seeds (1)"; "holds in 2 of 3 cases" for exact counts; or a dash."""
        found = [one for one in self.outcomes if one.scale == "small"]
        if found and found[0].seeds is None:
            told = f"holds in {sum(bool(one.holds) for one in found)} of {len(found)} {self.counted}"
            return told + AT_EDGE * any(one.at_edge for one in found)
        decided = [one for one in found if _seeds(one) >= FEWEST]
        if not decided:
            return f"too few seeds ({span(map(_seeds, found))})" if found else DASH
        groups = {said: [one for one in decided if one.holds == holds] for holds, said in WORDS.items()}
        places = {said: _places(own, decided) for said, own in groups.items() if own}
        if len(places) == 1:
            ((said, where),) = places.items()
        else:
            said, where = "mixed", " / ".join(f"{said}: {where}" for said, where in places.items())
        text = f"{said} ({where}; {span(map(_seeds, decided))} seeds)"
        text += AT_EDGE * any(one.at_edge for one in decided)
        return text + "; elsewhere too few seeds" * (len(decided) < len(found))


def _seeds(outcome: Outcome) -> int:
    """The seeds that count: 0 where the runs are no evidence."""
    return (outcome.seeds or 0) if outcome.evidence else 0


def _places(outcomes: Iterable[Outcome], every: Iterable[Outcome]) -> str:
    """Each place once, with the size where sizes disagree there."""
    own, others = list(outcomes), list(every)
    split = {one.where for one in own for other in others if one.where == other.where and one.holds != other.holds}
    return "; ".join(dict.fromkeys(f"{one.where} at {one.size}" if one.where in split else one.where for one in own))


def by_scale(rows: Iterable[list[str]]) -> list[list[str]]:
    """Rows sorted by the scale in their first cell, the paper's first; otherwise in the order given."""
    return sorted(rows, key=lambda row: SCALES.index(row[0]))

"""A claim of the paper: what was measured of it, the verdict at the paper's scale, and what the smaller scale says.

The two never mix: the verdict is of the paper's models on the paper's data, whatever a smaller model did. Scale mini is
a demonstration; it is told, and counts for neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from experiments.report.render import DASH, Table

REPRODUCED, NOT_REPRODUCED, NOT_MEASURED = "reproduced", "not reproduced", "not yet measured"
CANNOT_TELL = "cannot tell"
SCALES = ("paper", "full size", "small", "mini")  # in the order of what they say about the paper
FEWEST = 3  # seeds that decide anything: of fewer the spread is not known


@dataclass(frozen=True)
class Claim:
    """A claim of the paper beside what was measured.

    measured: sentences, and tables where there are many. verdict: at the paper's scale. smaller: at scale small.
    question: no claim of the paper but a question that it leaves open, to be answered by yes or no.
    """

    name: str
    statement: str
    measured: tuple[str | Table, ...] = ()
    verdict: str = NOT_MEASURED
    smaller: str = DASH
    question: bool = False


@dataclass(frozen=True)
class Outcome:
    """Whether a claim holds in one place at scale small; None where that place cannot tell.

    where: a task or a model, as the page says it. size: of the method, where it has several there.
    """

    where: str
    holds: bool | None
    seeds: int
    size: str = ""


def verdict(holds: Iterable[bool | None], whole: bool = True) -> str:
    """One failure is enough to refute; `whole` says whether everything that could refute was measured; None: what was
    measured cannot tell."""
    outcomes = list(holds)
    if False in outcomes:
        return NOT_REPRODUCED
    if not outcomes or not whole:
        return NOT_MEASURED
    return CANNOT_TELL if None in outcomes else REPRODUCED


def smaller(outcomes: Iterable[Outcome]) -> str:
    """What scale small says of a claim: "holds (STS-B; 3 seeds)", "does not hold (...)", both as "mixed (...)", "cannot
    tell (...)", "too few seeds (1)", or a dash."""
    found = list(outcomes)
    decided = [one for one in found if one.seeds >= FEWEST]
    if not decided:
        return f"too few seeds ({_span(found)})" if found else DASH
    kinds = {True: "holds", False: "does not hold", None: CANNOT_TELL}
    groups = {said: [one for one in decided if one.holds is holds] for holds, said in kinds.items()}
    names = {said: _places(own, decided) for said, own in groups.items() if own}
    seeds = f"{_span(decided)} seeds"
    if len(names) == 1:
        ((said, places),) = names.items()
        text = f"{said} ({places}; {seeds})"
    else:
        text = f"mixed ({' / '.join(f'{said}: {places}' for said, places in names.items())}; {seeds})"
    return text + "; elsewhere too few seeds" * (len(decided) < len(found))


def _places(outcomes: Iterable[Outcome], every: Iterable[Outcome]) -> str:
    """Where, each once; with the sizes where another size came out otherwise."""
    own, others = list(outcomes), list(every)
    split = {one.where for one in own for other in others if one.where == other.where and one.holds != other.holds}
    return "; ".join(dict.fromkeys(f"{one.where} at {one.size}" if one.where in split else one.where for one in own))


def _span(outcomes: Iterable[Outcome]) -> str:
    """The seeds behind each, the fewest and the most."""
    counts = sorted({one.seeds for one in outcomes})
    return "–".join(str(count) for count in counts[:: max(len(counts) - 1, 1)])


def by_scale(rows: Iterable[list[str]]) -> list[list[str]]:
    """Rows whose first cell is a scale: the paper's first, and otherwise as they came."""
    return sorted(rows, key=lambda row: SCALES.index(row[0]))

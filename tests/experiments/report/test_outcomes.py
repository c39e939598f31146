"""From outcomes to a verdict and to the words for scale small."""

import pytest

from experiments.report.verdicts import Claim, Outcome


def claim(*outcomes, **fields):
    return Claim("A claim", "It is claimed.", outcomes=outcomes, **fields)


@pytest.mark.parametrize(
    ("holds", "whole", "verdict"),
    [
        ((), True, "not yet measured"),
        ((True,), True, "reproduced"),
        ((True, True), False, "not yet measured"),
        ((True, False), False, "not reproduced"),
        ((True, None), True, "cannot tell"),
        ((None, False), True, "not reproduced"),
        ((True, "level"), True, "level"),
        (("level", None), True, "cannot tell"),
        (("level", False), False, "not reproduced"),
    ],
)
def test_the_verdict_follows_from_the_papers_scale(holds, whole, verdict):
    found = [Outcome(scale, "here", one, 5) for scale, one in zip(("paper", "full size"), holds, strict=False)]
    assert claim(*found, whole=whole).verdict == verdict
    assert claim(
        *found, Outcome("small", "here", False, 5), Outcome("mini", "here", False, 5), whole=whole
    ).verdict == (verdict), "no other scale decides anything"


def test_what_is_no_evidence_decides_nothing_at_any_scale():
    assert claim(Outcome("paper", "here", False, 5, evidence=False)).verdict == "not yet measured"
    assert claim(Outcome("small", "here", False, 5, evidence=False)).small_scale == "too few seeds (0)"


def test_a_search_that_ended_at_an_edge_is_told():
    found = [Outcome("small", "a", True, 3), Outcome("small", "b", None, 3, at_edge=True)]
    assert claim(*found).small_scale == "mixed (holds: a / cannot tell: b; 3 seeds); a search ended at an edge"
    assert claim(found[0]).small_scale == "holds (a; 3 seeds)"


def test_exact_outcomes_are_counted_and_others_need_three_seeds():
    exact = [Outcome("small", name, name != "c") for name in "abc"]
    assert claim(*exact, counted="runs").small_scale == "holds in 2 of 3 runs"
    assert claim(Outcome("small", "a", True, 2), Outcome("small", "b", True, 1)).small_scale == "too few seeds (1–2)"
    assert (
        claim(Outcome("small", "a", True, 3), Outcome("small", "b", True, 5)).small_scale == "holds (a; b; 3–5 seeds)"
    )
    assert claim().small_scale == "—"


def test_places_where_the_answers_differ_are_listed_by_answer():
    places = zip("abcd", (None, "level", True, False), strict=True)
    said = claim(*(Outcome("small", name, holds, 3) for name, holds in places)).small_scale
    assert said == "mixed (holds: c / does not hold: d / level: b / cannot tell: a; 3 seeds)"

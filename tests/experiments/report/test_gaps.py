"""Gaps between two methods: the tests are scipy's, err as rarely as they say, and need the seeds that they say."""

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from experiments.report.gaps import Gap, difference, no_loss


def between(ours, theirs, apart=0):
    """The gap of scores of the seeds 0, 1, ...; apart: how far the other side's seeds lie from these."""
    return Gap.between(dict(enumerate(ours)), dict(enumerate(theirs, start=apart)))


def drawn(true, deviation, seeds, draws=500):
    """Gaps of pairs whose differences have this mean and deviation."""
    for one in np.random.default_rng(0).normal(true, deviation, (draws, seeds)):
        yield between(one, np.zeros(seeds))


@pytest.mark.parametrize(("apart", "test"), [(0, ttest_rel), (100, ttest_ind)])
def test_the_same_seeds_are_paired_and_others_are_welch_s(apart, test):
    options = {"equal_var": False} if test is ttest_ind else {}
    random, answers = np.random.default_rng(0), set()
    for true in (-2, -1, -0.4, 0, 0.4, 1, 2):
        for ours, theirs in random.normal(0, 0.5, (20, 2, 4)) + np.array([[true], [0]]):

            def p(side, bound, a=ours, b=theirs):
                return test(a - bound, b, alternative=side, **options).pvalue

            two_sided = 2 * min(p("greater", 0), p("less", 0))
            level = "level" if max(p("greater", -1), p("less", 1)) < 0.05 else None
            gap, expected = between(ours, theirs, apart), ours.mean() > theirs.mean() if two_sided < 0.05 else level
            assert gap.answer(difference()) == expected
            worse = True if p("greater", -1) < 0.05 else False if p("less", -1) < 0.05 else None
            assert gap.answer(no_loss()) == worse
            answers |= {expected, worse}
    assert answers == {True, False, "level", None}


@pytest.mark.parametrize(
    ("question", "true", "wrong"),
    [
        (difference(), 0, {True, False}),
        (difference(), 1, {"level"}),
        (no_loss(), -1, {True}),
        (no_loss(), -1, {False}),
    ],
)
def test_a_wrong_answer_is_as_rare_as_the_level_says(question, true, wrong):
    """At the edge between right and wrong, where it is most frequent."""
    answers = [gap.answer(question) for gap in drawn(true, 0.5, 4)]
    assert 0 < sum(answer in wrong for answer in answers) < 0.08 * len(answers)


def test_several_comparisons_share_the_level():
    gap = between((0.3, 0.5, 0.6), (0, 0, 0))
    answers = [gap.answer(difference(comparisons)) for comparisons in (1, 2, 6)]
    assert answers == [True, "level", None]


def test_what_differs_without_significance_is_not_level():
    noisy = between((3, -2, 0), (0, 0, 0))
    assert noisy.answer(difference()) is noisy.answer(no_loss()) is None
    assert noisy.judged(difference()).said.startswith("+0.33 (1.45): cannot tell")


def test_a_pair_of_runs_that_share_their_luck_tells_more_than_two_runs_apart():
    luck = np.array([0, 4, 9, 2])
    ours = luck + np.array([0.4, 0.5, 0.6, 0.5])
    assert between(ours, luck).answer(difference()) is True
    assert between(ours, luck, apart=2).answer(difference()) is None


def test_a_gap_without_spread_is_exact_and_fewer_than_three_seeds_decide_nothing():
    said = [between((5 + gap,) * 3, (5,) * 3).judged(difference()).said for gap in (2, 0, -2)]
    assert said == ["+2.00 (0.00): above", "+0.00 (0.00): level", "−2.00 (0.00): below"]
    assert between((4,) * 3, (5,) * 3).judged(no_loss()).said.endswith("more than 50 seeds would decide"), "at the edge"
    assert between((7, 7), (5, 5)).judged(difference()) == (None, "+2.00: too few seeds")
    assert between((7, 7, 7), (5, 5), apart=9).answer(difference()) is None


@pytest.mark.parametrize(
    ("sample", "question", "seeds"),
    [((-2.2, 0.8, 0.5), no_loss(), 36), ((-1.1, 0.9, 0.2), difference(), 11), ((-0.7, 2.9, 1.1), difference(), 24)],
)
def test_so_many_seeds_decide_with_the_chance_that_is_stated(sample, question, seeds):
    gap = between(sample, (0, 0, 0))
    assert gap.judged(question).said.endswith(f"about {seeds} seeds would decide")

    def share(seeds):
        later = drawn(gap.mean, np.std(sample, ddof=1), seeds)
        return np.mean([one.answer(question) is not None for one in later])

    assert share(seeds) > 0.77 and share(seeds * 3 // 4) < 0.77


def test_more_seeds_than_anyone_would_run_are_not_counted():
    assert between((-4, 5, -0.9), (0, 0, 0)).judged(difference()).said.endswith("more than 50 seeds would decide")

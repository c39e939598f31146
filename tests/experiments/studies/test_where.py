"""The study of where the numbers go: equal bytes in its plan, its choices, and what answers its questions."""

import pytest

from experiments.report.verdicts import LEVEL
from experiments.studies.plan import read_study
from experiments.studies.where import BUDGETS, WHERE, budget, choice, is_above_lora_for_less, order_beats_random
from fourierft import Entries
from tests.handmade import run

SORTED = {"entries": "sorted", "basis": "dct"}
SUBMATRIX = {"entries": "sorted", "basis": "identity"}
SEEDS, LUCK = (0, 11111, 22222, 33333, 44444), (2, 1, 0, -1, -2)


def several(score, adapter, **settings):
    """Runs of one choice whose scores differ by little, each of so many numbers."""
    pairs = zip(SEEDS, LUCK, strict=True)
    return [run(score + 0.0005 * luck, seed=seed, adapter=adapter, **settings) for seed, luck in pairs]


def groups(*runs):
    return WHERE.groups([one for some in runs for one in some])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n": 128}, "fourierft"),
        ({"n": 128, "entries": "random", "basis": "dct"}, "fourierft"),
        ({"n": 128, **SORTED}, "fourierft_sorted"),
        ({"n": 128, **SUBMATRIX, "targets": "all-linear"}, "fourierft_submatrix_all"),
        ({"n": 128, "n_pattern": {"query": 64}}, "fourierft_by_module"),
        ({"method": "lora_all", "r": 1}, "lora_all"),
    ],
)
def test_a_choice_is_named_by_what_it_is(settings, named):
    assert choice(run(**settings)) == named


def test_the_plans_sizes_keep_and_use_a_budget():
    """Of the kinds of FourierFT: at most a budget, with the order counted, and at least nine tenths of it."""
    for one in (planned for places in read_study("where").small.places.values() for planned in places):
        method = one.config["method"]
        if one.method == "fourierft":
            shapes = [(384, 384)] * 12
            if method.get("targets") == "all-linear":
                shapes = [(384, 384)] * 24 + [(1536, 384), (384, 1536)] * 6
            bytes_ = 4 * method["n"] * len(shapes)
            if "entries" in method:
                entries = Entries(method["n"], basis=method["basis"], kind="sorted")
                bytes_ += sum(2 * sum(entries.listed(shape)) for shape in shapes)
            assert any(0.9 * most <= bytes_ <= most for most in BUDGETS), (choice(one), method["n"], bytes_)


def test_a_choice_above_lora_at_a_sixth_of_its_bytes_is_enough():
    lora = several(0.80, 6000, method="lora", r=8)
    for scores, holds in (((0.85, 0.70), True), ((0.70, 0.71), False), ((0.80, 0.70), LEVEL)):
        few = [several(score, 1000, n=128 + i, **SORTED) for i, score in enumerate(scores)]
        assert is_above_lora_for_less(groups(lora, *few)).holds == holds, scores
    more = several(0.85, 1001, n=128)
    assert is_above_lora_for_less(groups(lora, more)) is None
    assert is_above_lora_for_less(groups(more)) is None


def test_an_order_has_to_beat_random_positions_at_every_budget():
    def told(*scores):
        plain = [several(0.80, n, n=n) for n in (1536, 6144)]
        chosen = [several(score, n, n=n - 10, **SUBMATRIX) for score, n in zip(scores, (1530, 6130), strict=True)]
        return order_beats_random(groups(*plain, *chosen))

    assert told(0.85, 0.85).holds is True and told(0.85, 0.75).holds is False
    assert "6,144 bytes" in told(0.85, 0.85).said and "24,576 bytes" in told(0.85, 0.85).said
    assert order_beats_random(groups(several(0.8, 1536, n=1536))) is None
    elsewhere = several(0.9, 1536, n=1536, targets="all-linear", **SUBMATRIX)
    assert order_beats_random(groups(several(0.8, 1536, n=128), elsewhere)) is None


def test_the_nearest_budget_is_nearest_in_proportion():
    assert [budget(run(adapter=n)) for n in (1000, 3000, 3200, 12000, 13000)] == [6144, 6144, 24576, 24576, 98304]

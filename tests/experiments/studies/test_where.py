"""The study of where the numbers go: equal bytes in its plan, its choices, and what answers its questions."""

import pytest

from experiments import record
from experiments.report.verdicts import LEVEL
from experiments.studies.plan import read_study
from experiments.studies.where import BUDGETS, WHERE, all_layers_beat_attention, budget, choice, is_above_lora_for_less
from experiments.trials import Trials, best
from tests.conftest import ROOT
from tests.handmade import run

STUDY = ROOT / "results" / "studies" / "where"
ALL = {"targets": "all-linear"}
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
        ({"n": 128, **ALL}, "fourierft_all"),
        ({"n": 128, "n_pattern": {"query": 64}}, "fourierft_by_module"),
        ({"method": "lora_all", "r": 1}, "lora_all"),
    ],
)
def test_a_choice_is_named_by_what_it_is(settings, named):
    assert choice(run(**settings)) == named


def test_the_plans_sizes_keep_and_use_their_budgets():
    """Of the kinds of FourierFT: at most a budget, and at least nine tenths of it."""
    found = {}
    for one in (planned for places in read_study("where").small.places.values() for planned in places):
        method = one.config["method"]
        if one.method == "fourierft":
            matrices = 36 if method.get("targets") == "all-linear" else 12
            found.setdefault(choice(one), set()).add(4 * method["n"] * matrices)
    wanted = {"fourierft": BUDGETS[:2], "fourierft_all": BUDGETS, "fourierft_by_module": BUDGETS[1:2]}
    assert {
        kind: tuple(most for size in sorted(sizes) for most in BUDGETS if 0.9 * most <= size <= most)
        for kind, sizes in found.items()
    } == wanted


@pytest.mark.parametrize("method", ["unilora", "vera"])
def test_a_rate_that_the_plan_states_is_the_next_best_of_its_search(method):
    """The records of the best one's runs, in which no seed learnt anything, stand in passed_over/."""
    place = f"glue_stsb/minilm_l6/{method}"
    [search] = [one for one in record.find(STUDY / "search", Trials) if one.method == method]
    passed_over, taken = record.find(STUDY / "passed_over" / place), record.find(STUDY / "records" / place)
    [stated] = {(run.config["recipe"]["lr"], run.trials) for run in taken}
    left = [trial for trial in search.trials if trial["recipe.lr"] != search.point["recipe.lr"]]
    assert stated == (best(left)["recipe.lr"], len(search.trials))
    assert {run.config["recipe"]["lr"] for run in passed_over} == {search.point["recipe.lr"]}
    assert max(run.metrics.best for run in passed_over) < 0.5 < min(run.metrics.best for run in taken)


def test_a_choice_above_lora_at_a_sixth_of_its_bytes_is_enough():
    lora = several(0.80, 6000, method="lora", r=8)
    for scores, holds in (((0.85, 0.70), True), ((0.70, 0.71), False), ((0.80, 0.70), LEVEL)):
        few = [several(score, 1000, n=128 + i) for i, score in enumerate(scores)]
        assert is_above_lora_for_less(groups(lora, *few)).holds == holds, scores
    more = several(0.85, 1001, n=128)
    assert is_above_lora_for_less(groups(lora, more)) is None
    assert is_above_lora_for_less(groups(more)) is None


def test_all_layers_have_to_beat_q_and_v_at_every_budget():
    def told(*scores):
        few = [several(0.80, n, n=n // 12) for n in (1536, 6144)]
        spread = [several(score, n, n=n // 36, **ALL) for score, n in zip(scores, (1512, 6120), strict=True)]
        return all_layers_beat_attention(groups(*few, *spread))

    assert told(0.85, 0.85).holds is True and told(0.85, 0.75).holds is False
    assert "6,144 bytes" in told(0.85, 0.85).said and "24,576 bytes" in told(0.85, 0.85).said
    assert all_layers_beat_attention(groups(several(0.8, 1536, n=128))) is None
    assert all_layers_beat_attention(groups(several(0.8, 1536, n=128), several(0.9, 24552, n=682, **ALL))) is None


def test_the_nearest_budget_is_nearest_in_proportion():
    assert [budget(run(adapter=n)) for n in (1000, 3000, 3200, 12000, 13000)] == [6144, 6144, 24576, 24576, 98304]

"""The study of the scale that carries over: the best rate of a search, in both units, and what is said of them."""

import math

import pytest

from experiments.record import Matrices, write
from experiments.studies import STUDIES
from experiments.studies.plan import read_study
from experiments.studies.transfer import found, vertex
from experiments.trials import Trials, best
from tests import legible

FOUND = (0.71, 1.4, 0.35, 0.17)  # of a search that starts at 0.71, where the best is 0.4


def searched(rates, n=128, model="roberta_mini", shape=(128, 128), count=8, peak=0.4, fall=0.1):
    """A search over these rates by hand, whose scores are a parabola over the logarithm of the rate."""
    trials = [{"recipe.lr": rate, "score": 0.9 - fall * math.log(rate / peak) ** 2} for rate in rates]
    return Trials(
        exp="glue_rte",
        model=model,
        method="fourierft",
        overrides=["task=glue_rte", f"model={model}", "method=fourierft", f"method.n={n}"],
        holdout=0.2,
        ranges={"recipe.lr": [0.1, 1.0]},
        scrambled=True,
        numbers=[0] + [None] * (len(rates) - 1),
        trials=trials,
        best=best(trials),
        matrices=[Matrices(shape=list(shape), count=count)],
    )


def test_the_best_rate_is_the_top_of_the_parabola():
    scores = {rate: -(math.log(rate / 0.3) ** 2) for rate in (0.1, 0.2, 0.4, 0.8)}
    assert vertex(scores) == pytest.approx(0.3)
    assert vertex({0.1: 0.5, 0.2: 0.6}) == 0.2, "at an edge it is the best trial's"
    assert 0.2 < vertex({0.2: 0.5, 0.4: 0.6, 0.8: -1.0}) < 0.4, "one that diverged bounds it from above"
    assert vertex({0.2: 0.6, 0.4: 0.6, 0.1: 0.6}) == pytest.approx(0.1), "of equals the lowest"


def test_the_raw_rate_times_the_scale_moves_the_model_as_far():
    one = found(searched(FOUND, n=200, shape=(96, 384), count=3), "small")
    assert (one.n, one.matrices, one.marks) == (200, 3, "")
    assert one.rate == pytest.approx(0.4)
    step = one.raw * math.sqrt(3 * 200 / (2 * 96 * 384))  # Frobenius, of a step of Adam at this rate times scale
    movement = 12 * math.sqrt(math.sqrt(96 * 384) / (3 * 200))  # the rule's
    assert step == pytest.approx(movement * one.rate)


def test_a_rate_is_at_an_edge_where_the_highest_score_is_though_a_lower_rate_scored_as_well():
    trials = searched([0.71, 1.4, 2.8], peak=1.4, fall=0.01)
    assert trials.point == {"recipe.lr": 0.71} and trials.edges
    assert found(trials, "small").marks == ""
    assert found(searched([0.71, 1.4], peak=1.4), "small").marks == "↑"


def test_the_page_tells_both_spreads_and_marks_an_edge(tmp_path):
    study = STUDIES["transfer"]
    settings = [
        searched(FOUND, n=32, model="minilm_l6"),
        searched(FOUND, n=2048, model="minilm_l6"),
        searched(FOUND, n=32, model="llama_stories260k", peak=0.5),
        searched([0.71, 1.4], n=32, model="vit_mini", shape=(64, 64), count=2, peak=1.4),
    ]
    for one in settings:
        write(one, tmp_path / "search" / one.place)
    [page] = study.pages(tmp_path)
    assert [(row[0], row[-1]) for row in page.tables[0].rows] == [
        *[("small", "0.50"), ("small", "0.40"), ("small", "0.40"), ("mini", "1.40↑")],
    ]
    assert page.figures.keys() == {""}
    legible.check(page.figures[""]())
    within, across = study.claims(tmp_path)
    # The miniature decides nothing, however its rates lie.
    assert (within.small_scale, across.small_scale) == ("holds in 2 of 2 models", "holds in 1 of 1 comparison")
    assert within.measured[1].startswith(
        "small, minilm_l6, 2 settings: best rates 0.40 at scale=auto, a factor of 1.0; of rate"
    )
    assert "small, all models, 3 settings: best rates 0.40 to 0.50 at scale=auto, a factor of 1.3" in across.measured[0]
    assert across.measured[1].endswith("; 1 at the edge of those tried")


def test_a_rate_at_an_edge_cannot_tell(tmp_path):
    for one in (searched(FOUND, n=32, model="minilm_l6"), searched([0.71, 1.4], n=128, model="minilm_l6", peak=1.4)):
        write(one, tmp_path / "search" / one.place)
    for claim in STUDIES["transfer"].claims(tmp_path):
        assert claim.outcomes[0].holds is None
        assert claim.small_scale.endswith("; a search ended at an edge")


@pytest.mark.parametrize("scale", ["small", "mini"])
def test_every_setting_starts_at_zeros_in_the_rules_unit(scale):
    for setting in read_study("transfer").plan("transfer", scale).settings:
        assert {"method.scale=auto", "method.init=zeros", "recipe.weight_decay=0"} <= set(setting)

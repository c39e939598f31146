"""The record of a search: its points follow from its ranges and its scores, beyond the ranges too."""

import json
import math
from collections import defaultdict

import numpy as np
import pytest

from experiments import record
from experiments.trials import Trials, best, edges, label, repeats, sequence, steps, unscored
from tests.conftest import ROOT

RANGES = {"recipe.lr": [1e-3, 1e-1], "recipe.head_lr": [1e-4, 1e-2]}
COMMITTED = sorted((ROOT / "results").glob("search/*/*/*.json"))
COMMITTED += sorted((ROOT / "results").glob("studies/*/search/*/*/*.json"))


def tried(score, extra, ranges=RANGES, count=4):
    """The trials of a search with this score of a point, with `extra` steps at most."""
    trials = [point | {"score": score(point)} for point in sequence(ranges, range(count))]
    for _ in range(extra):
        trials += [point | {"score": score(point)} for point in steps(trials)[:1]]
    return trials


def edges_of(trials):
    """The edges at which the best trial lies."""
    return edges({key: value for key, value in best(trials).items() if key != "score"}, trials)


def peak(**places):
    """A score that is highest at these values, and lower by their distance on a logarithmic scale."""
    return lambda point: -sum(abs(math.log10(point[f"recipe.{key}"] / at)) for key, at in places.items()) / 20


@pytest.fixture
def written(tmp_path):
    """written(content) -> the file of a search with this content; by default a sound one with four trials beyond it."""

    def written(**changes):
        trials = tried(peak(lr=0.5, head_lr=2e-3), 4)
        content = {
            "exp": "glue_stsb",
            "model": "minilm_l6",
            "method": "lora",
            "overrides": ["method.r=2"],
            "holdout": 0.2,
            "ranges": RANGES,
            "scrambled": True,
            "numbers": [0, 1, 2, 3, *[None] * (len(trials) - 4)],
            "trials": trials,
            "best": best(trials),
        }
        path = tmp_path / "glue_stsb/minilm_l6/lora_r2.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({key: value for key, value in (content | changes).items() if value is not ...}))
        return path

    return written


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.relative_to(ROOT / "results").as_posix())
def test_every_committed_search_can_be_read(path):
    """So that a repeated search finds its trials; those of the older sequence, which is not scrambled, too."""
    found = record.read(path, Trials)
    by_point = defaultdict(list)
    for trial in found.trials:
        by_point[tuple(trial[key] for key in found.ranges)].append(trial["score"])
    means = {point: sum(scores) / len(scores) for point, scores in by_point.items()}
    equals = [point for point, mean in means.items() if mean >= max(means.values()) - abs(max(means.values())) / 100]
    assert tuple(found.point.values()) == min(equals)
    assert found.best["score"] == pytest.approx(means[min(equals)])


def test_the_points_of_a_new_search_are_fixed_and_none_is_a_corner():
    ranges = {"recipe.lr": [1e-5, 1e-1], "recipe.head_lr": [1e-4, 1.0]}
    points = [tuple(point.values()) for point in sequence(ranges, range(5))]
    assert points == [(0.025, 0.53), (0.00064, 0.00047), (9.9e-05, 0.023), (0.0022, 0.002), (0.0045, 0.07)]
    assert sequence(ranges, [4, 2]) == [sequence(ranges, range(9))[place] for place in (4, 2)]
    assert sequence(ranges, []) == []
    assert sequence(ranges, range(2), scrambled=False)[1] == {"recipe.lr": 1e-5, "recipe.head_lr": 1e-4}
    unit = np.log10([tuple(point.values()) for point in sequence(ranges, range(64))]) / 4
    for column in (unit - unit.min(axis=0)).T:
        assert {int(value * 8) for value in column} >= set(range(8)), "every eighth of every range is tried"


# --- the best trial --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "rate"),
    [
        ([0.84, 0.8487, 0.8487], 0.6),  # of equals the lowest rate
        ([0.8403, 0.8487, 0.84], 0.3),  # to 1 % of the highest score
        ([0.8401, 0.8487, 0.84], 0.6),
        ([0.0124, 0.0052, 0.0125], 0.3),  # of the score, whatever its size: a score of BLEU can be small
        ([-0.1, -0.1005, -0.2], 0.3),
        ([-0.102, -0.1, -0.2], 0.6),
        ([-1.0, -1.0, 0.2], 1.2),
    ],
)
def test_of_trials_as_good_as_the_best_the_lowest_rate_is_taken(scores, rate):
    trials = [{"recipe.lr": lr, "score": score} for lr, score in zip([0.3, 0.6, 1.2], scores, strict=True)]
    assert best(trials)["recipe.lr"] == best(trials[::-1])["recipe.lr"] == rate


def test_the_score_of_a_point_is_the_mean_of_its_trials_and_one_that_failed_lowers_it():
    trials = [{"recipe.lr": lr, "score": score} for lr, score in ((0.3, 0.4), (0.6, 0.6), (0.6, 0.3))]
    assert best(trials) == {"recipe.lr": 0.6, "score": pytest.approx(0.45)}
    assert best([*trials, {"recipe.lr": 0.3, "score": 0.6}]) == {"recipe.lr": 0.3, "score": pytest.approx(0.5)}
    assert best([*trials[:2], {"recipe.lr": 0.6, "score": -1.0}])["recipe.lr"] == 0.3


def test_the_best_point_is_tried_again_until_its_seeds_are_enough():
    first, second = {"recipe.lr": 0.3, "score": 0.6}, {"recipe.lr": 0.6, "score": 0.5}
    [again] = repeats([first, second], seeds=2)
    assert again == {"recipe.lr": 0.3} and repeats([first, second], seeds=1) == []
    assert repeats([first, second, again | {"score": 0.5}], seeds=2) == []
    assert repeats([first, second, again | {"score": 0.5}], seeds=3) == [again]
    assert repeats([first, second, again | {"score": 0.3}], seeds=2) == [{"recipe.lr": 0.6}], "the next best leads now"
    assert repeats([{"recipe.lr": 0.3, "score": -1.0}], seeds=2) == repeats([], seeds=2) == []


def test_rates_are_compared_by_the_first_key_and_then_by_the_next():
    trials = [
        {"recipe.lr": lr, "recipe.head_lr": head, "score": 0.8} for lr, head in ((0.6, 1e-3), (0.3, 8e-3), (0.3, 4e-3))
    ]
    assert best(trials) == trials[2]


def test_a_search_whose_steps_followed_the_highest_score_can_be_read(written):
    """As once: 0.2 is as good as 0.1 up to 1 %, and 0.4 was tried beyond it."""
    [first] = sequence(RANGES, range(1))
    up = [first | {"recipe.lr": first["recipe.lr"] * factor} for factor in (2.0, 4.0)]
    trials = [point | {"score": score} for point, score in zip([first, *up], [0.8, 0.801, 0.7], strict=True)]
    written = written(trials=trials, numbers=[0, None, None], best=trials[0])
    assert record.read(written, Trials).best == trials[0]


# --- steps beyond the edges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1e-6, 1e-3, 0.01, 0.1, 0.4, 7.0])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_search_goes_on_until_its_best_is_inside(at, count):
    ranges = {"recipe.lr": RANGES["recipe.lr"]}
    trials = tried(peak(lr=at), 20, ranges, count)
    values = [trial["recipe.lr"] for trial in trials]
    assert edges_of(trials) == {} and steps(trials) == []
    assert min(values) < best(trials)["recipe.lr"] < max(values)
    assert best(trials)["recipe.lr"] == min(values, key=lambda value: abs(math.log(value / at)))
    assert len(set(values)) == len(values), "no point is tried again"


def test_one_key_moves_at_a_time_in_the_order_of_the_ranges_and_by_a_factor_of_two():
    trials = [
        {"recipe.lr": 0.01, "recipe.head_lr": 0.001, "score": 0.1},
        {"recipe.lr": 0.023, "recipe.head_lr": 0.0005, "score": 0.2},
    ]
    assert edges_of(trials) == {"recipe.lr": "highest", "recipe.head_lr": "lowest"}
    up, down = {"recipe.lr": 0.046, "recipe.head_lr": 0.0005}, {"recipe.lr": 0.023, "recipe.head_lr": 0.00025}
    assert steps(trials) == [up, down]
    assert steps([dict(reversed(trial.items())) for trial in trials]) == [down, up]
    trials.append(up | {"score": -1.0})  # diverged: that brackets the rate from above
    assert edges_of(trials) == {"recipe.head_lr": "lowest"} and steps(trials) == [down]
    trials.append(down | {"score": 0.3})
    assert steps(trials) == [down | {"recipe.head_lr": 0.00013}]


def test_one_trial_alone_is_tried_on_both_sides():
    first = {"recipe.lr": 0.01, "score": 0.5}
    up, down = {"recipe.lr": 0.02, "score": 0.4}, {"recipe.lr": 0.005, "score": 0.3}
    for trials, following in (([first], up), ([first, up], down)):
        assert steps(trials) == [{"recipe.lr": following["recipe.lr"]}]
    assert edges_of([first, up, down]) == {}


def test_a_search_that_failed_everywhere_goes_nowhere():
    assert steps([point | {"score": -1.0} for point in sequence(RANGES, range(3))]) == []


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_search_with_steps_beyond_its_edges_is_read_with_its_edges(written):
    found = record.read(written(), Trials)
    assert found.places == [0, 1, 2, 3, None, None, None, None]
    assert found.edges == edges_of(found.trials)
    assert found.point | {"score": found.best["score"]} == found.best


def test_trials_in_the_ranges_may_follow_steps_beyond_them(written):
    trials = tried(peak(lr=0.5, head_lr=2e-3), 2)
    trials += [point | {"score": -0.9} for point in sequence(RANGES, [4])]
    trials += [point | {"score": -0.8} for point in steps(trials)[:1]]
    assert record.read(written(trials=trials, numbers=[0, 1, 2, 3, None, None, 4, None], best=best(trials)), Trials)


def test_a_search_holds_the_trials_of_its_best_point_with_further_seeds(written):
    trials = tried(peak(lr=0.5, head_lr=2e-3), 4)
    trials += [point | {"score": -0.5} for point in repeats(trials)]
    numbers = [0, 1, 2, 3, *[None] * (len(trials) - 4)]
    found = record.read(written(trials=trials, numbers=numbers, best=best(trials)), Trials)
    assert found.point != unscored(best(trials[:-1])), "its score fell"
    second = sorted(trials[:-1], key=lambda trial: trial["score"])[-2]
    with pytest.raises(record.RecordError, match=f"the points of trials: number {len(trials) - 1}"):
        record.read(written(trials=[*trials[:-1], second], numbers=numbers, best=best(trials[:-1])), Trials)


def test_an_older_search_names_no_numbers_and_is_not_scrambled(written):
    trials = [point | {"score": 0.1} for point in sequence(RANGES, range(3), scrambled=False)]
    found = record.read(written(trials=trials, best=best(trials), numbers=..., scrambled=...), Trials)
    assert found.places == [0, 1, 2] and not found.scrambled


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["best"].update(score=1.0), "best is"),
        (lambda found: found["trials"][-1].update(score=0.99), "best is"),
        (lambda found: found["trials"][0].update(score=0.99), "the points of trials: number 5"),
        (lambda found: found["trials"][1].update({"recipe.lr": 3e-3}), "the points of trials: number 1"),
        (lambda found: found["trials"][5].update({"recipe.lr": 3e-3}), "the points of trials: number 5"),
        (lambda found: found["trials"].pop(0), "the number of numbers"),
        (lambda found: found["trials"].pop(), "the number of numbers"),
        (lambda found: found["numbers"].insert(0, found["numbers"].pop()), "the points of trials: number 0"),
        (lambda found: found.update(numbers=[None] * 8), "the points of trials: number 0"),
        (lambda found: found["trials"][0].pop("score"), "needs a score"),
        (lambda found: found["trials"][0].pop("recipe.lr"), "the points of trials: number 0"),
        (lambda found: found["ranges"].update({"recipe.lr": [0.1, 0.01]}), "no range"),
        (lambda found: found.update(scrambled=False), "the points of trials: number 0"),
        (lambda found: found.update(method="full"), "holds what belongs to glue_stsb/minilm_l6/full_r2.json"),
    ],
)
def test_a_search_that_does_not_agree_with_itself_is_refused(written, change, said):
    path = written()
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(record.RecordError, match=said):
        record.read(path, Trials)


def test_a_file_is_called_by_the_method_and_its_settings():
    asked = ["model=minilm_l6", "method.n=50", "method.alpha=${method.r}", "method.n_pattern={layer.0.query:5,value:7}"]
    assert label("fourierft", asked) == "fourierft_n50_n_pattern2"

"""The toy of Figure 7 in tiny: its parameters, its seeds, its records, and a claim that turns when they do."""

import pytest
import torch

from experiments import record
from experiments.errors import UserError
from experiments.studies.expressive import Expressive, data, training
from experiments.studies.expressive.model import WIDTH, Network
from experiments.studies.expressive.outcome import BASE, VARIANTS, Contest, Trial, Variant
from experiments.studies.expressive.study import Effort, measure
from fourierft import Entries, FourierLinear
from tests import legible

TINY = Effort(variants=[BASE], seeds=range(2), search_seeds=[1000], epochs=3, steps=5)
AROUND = next(variant for variant in VARIANTS if variant.name == "around")


def network(method, seeds=(0,), variant=BASE, alpha=100.0):
    generators = training.generators(seeds)
    x = data.points(variant.centres, generators)
    return Network(variant, method, alpha, generators), x


@pytest.fixture
def quick(monkeypatch):
    """One trial a method."""
    monkeypatch.setattr(training, "GRIDS", {name: grid[-1:] for name, grid in training.GRIDS.items()})


def test_both_train_128_parameters_and_nothing_else():
    counts = {method: network(method, (0, 1))[0].counts() for method in BASE.methods}
    assert counts == {
        "lora": {"change": 128, "around": 0},
        "fourierft": {"change": 128, "around": 0},
        "full": {"change": 4096, "around": 0},
    }
    assert network("none", variant=AROUND)[0].counts() == {"change": 0, "around": 2 * 64 + 64 + 8 * 64 + 8}


def test_every_method_has_as_many_trials():
    assert {len(set(grid)) for grid in training.GRIDS.values()} == {16}


def test_the_change_is_the_librarys_layer():
    ours, _ = network("fourierft", (3, 4))
    for index, seed in enumerate((3, 4)):
        layer = FourierLinear(torch.nn.Linear(WIDTH, WIDTH), Entries(128, seed), scale=100.0)
        layer.fourierft_spectrum.data.copy_(ours.change.c[index])
        torch.testing.assert_close(ours.change()[index], layer.delta_weight())


def test_lora_starts_from_no_change_and_is_of_rank_one():
    lora, x = network("lora")
    torch.testing.assert_close(lora(x), network("full")[0](x))
    training.train(lora, x, 0.01, [2])
    assert torch.linalg.matrix_rank(lora.change()[0]) == 1


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_all_methods_of_a_seed_have_the_same_points_and_layers(variant):
    (first, x), *others = (network(method, (5,), variant) for method in variant.methods)
    assert bool(first.hidden.weight.any()) == (variant.hidden == "random")
    for other, y in others:
        assert torch.equal(x, y)
        for name in ("first", "hidden", "last"):
            assert torch.equal(getattr(first, name).weight, getattr(other, name).weight)


def test_a_seed_is_the_same_alone_and_in_company():
    courses = []
    for seeds in ((7,), (7, 8)):
        one, x = network("fourierft", seeds)
        courses.append(training.train(one, x, 0.1, [0, 10]))
    alone, together = courses
    assert alone.correct[0] == together.correct[0] != together.correct[1]
    assert alone.loss[0] == pytest.approx(together.loss[0], rel=1e-3)


def test_scattered_centres_keep_their_distance_and_differ_by_seed():
    first, second = (data.scattered(one) for one in training.generators((0, 1)))
    assert min(torch.pdist(first).min(), torch.pdist(second).min()) >= 3
    assert not torch.equal(first, second)


def test_training_the_whole_layer_separates_the_classes():
    one, x = network("full", (0, 1), alpha=1.0)
    course = training.train(one, x, 0.01, [500], stop=True)
    assert None not in course.first and max(course.loss) < 0.5


def test_the_search_puts_the_setting_first_that_needs_the_fewest_epochs(monkeypatch):
    monkeypatch.setitem(training.GRIDS, "full", [(1e-6, 1.0), (0.01, 1.0), (1e-5, 1.0)])
    trials = training.search(BASE, "full", [1001], 60)
    assert trials[0].rate == 0.01 and trials[0].epochs <= 60
    assert [trial.rate for trial in trials[1:]] == [1e-5, 1e-6], "of those that never succeed, the lower loss"
    assert {trial.epochs for trial in trials[1:]} == {61}


def test_a_measurement_repeats_to_the_digit(quick):
    drop = {"started", "ended", "commit", "dirty"}
    first, second = (measure(BASE, "fourierft", TINY).model_dump(exclude=drop) for _ in range(2))
    assert first == second
    assert len(first["sample"]["regions"]) == TINY.steps and len(first["correct"]) == len(TINY.seeds)


def test_what_is_there_is_not_measured_again(tmp_path, quick, monkeypatch):
    study = Expressive(TINY)
    study.run("paper", tmp_path)
    paths = sorted(tmp_path.glob("*.json"))
    assert [path.stem for path in paths] == ["base_fourierft", "base_full", "base_lora"]
    texts = [path.read_text() for path in paths]
    paths[1].unlink()
    monkeypatch.setattr(training, "search", lambda variant, method, *rest: pytest.fail(method))
    with pytest.raises(pytest.fail.Exception, match="full"):
        study.run("paper", tmp_path)
    assert [path.read_text() for path in paths[::2]] == texts[::2]


def test_there_is_no_other_scale(tmp_path):
    with pytest.raises(UserError, match=r"mini.*use scale=paper"):
        Expressive().run("mini", tmp_path)


def outcome(method, first, variant=BASE, dirty=False) -> Contest:
    """By hand: `first`, a seed."""
    count = len(first)
    return Contest(
        scale="paper",
        variant=variant,
        method=method,
        parameters={"change": 128, "around": 0},
        settings={},
        search_seeds=[1000],
        trials=[{"rate": 0.1, "alpha": 1.0, "epochs": 3.0, "loss": None}],
        rate=0.1,
        alpha=1.0,
        seeds=list(range(count)),
        samples=240,
        epochs=[0, 2000],
        correct=[[30, 200 if one is None else 240] for one in first],
        first=first,
        loss=[0.1] * count,
        sample={"seed": 0, "points": [[0.0, 1.0]] * 240, "regions": ["01", "27"]},
        threads=1,
        hardware={"device": "cpu", "cpu": "A CPU", "cores": 2, "memory_bytes": 2**34},
        versions={},
        commit="c" * 40,
        dirty=dirty,
        started="2025-01-01T00:00:00Z",
        ended="2025-01-01T00:00:00Z",
    )


def solved(count, of=20):
    return [500] * count + [None] * (of - count)


def told(tmp_path, *outcomes):
    for path in tmp_path.glob("*.json"):
        path.unlink()
    for one in outcomes:
        record.write(one, tmp_path / f"{one.variant.name}_{one.method}.json")
    [claim] = Expressive().claims(tmp_path)
    return claim


@pytest.mark.parametrize(
    ("lora", "ours", "verdict"),
    [
        (solved(5), solved(15), "reproduced"),
        (solved(6), solved(20), "not reproduced"),
        (solved(0), solved(14), "not reproduced"),
        (solved(0, of=19), solved(19, of=19), "not yet measured"),
    ],
)
def test_the_claim_needs_lora_to_fail_and_fourierft_to_succeed_in_most_of_twenty_seeds(tmp_path, lora, ours, verdict):
    claim = told(tmp_path, outcome("lora", lora), outcome("fourierft", ours))
    assert claim.verdict == verdict
    assert f"LoRA r=1 100 % in {sum(one is not None for one in lora)} of {len(lora)} seeds" in claim.measured[0]


def test_the_first_setting_alone_is_judged_and_the_others_are_told(tmp_path):
    pair = [outcome("lora", solved(0)), outcome("fourierft", solved(20))]
    other = [outcome("lora", solved(20), AROUND), outcome("fourierft", solved(20), AROUND)]
    claim = told(tmp_path, *other, *pair)
    assert claim.verdict == "reproduced"
    assert [line.rpartition(": ")[2] for line in claim.measured] == ["the claim holds", "the claim does not hold"]
    assert told(tmp_path, *other).verdict == "not yet measured"
    assert told(tmp_path, pair[0], outcome("fourierft", solved(20), dirty=True)).verdict == "not yet measured"
    assert told(tmp_path).verdict == "not yet measured"


def test_the_report_has_a_row_an_outcome_and_two_figures(tmp_path):
    assert Expressive().pages(tmp_path) == []
    told(tmp_path, outcome("lora", solved(3)), outcome("fourierft", solved(20), dirty=True))
    [report] = Expressive().pages(tmp_path)
    [table] = report.tables
    assert [row[1] for row in table.rows] == ["LoRA r=1", "FourierFT n=128‡"]
    assert [row[4:8] for row in table.rows] == [
        ["3 of 20", "500", "83.3", "83.3"],
        ["20 of 20", "500", "100.0", "100.0"],
    ]
    assert list(report.figures) == ["accuracy", "regions"]
    for draw in report.figures.values():
        legible.check(draw())
    assert [text.get_text() for text in report.figures["accuracy"]().axes[0].texts] == ["FourierFT n=128"]


def test_a_rate_at_the_edge_of_its_grid_is_marked(tmp_path):
    one, points = outcome("lora", solved(3)), [(0.1, 1.0), (0.1, 0.5), (0.3, 1.0), (0.3, 0.5)]
    grid = [Trial(rate=rate, alpha=alpha, epochs=float(place), loss=None) for place, (rate, alpha) in enumerate(points)]
    told(tmp_path, one.model_copy(update={"trials": grid}))
    [report] = Expressive().pages(tmp_path)
    assert report.tables[0].rows[0][-3:] == ["0.1↓", "1↑", "4"]
    told(tmp_path, one)
    assert Expressive().pages(tmp_path)[0].tables[0].rows[0][-3:] == ["0.1", "1", "1"], "nothing was searched"


def test_only_where_the_layers_around_train_is_no_change_a_contestant():
    assert [variant.name for variant in VARIANTS if "none" in variant.methods] == ["around"]
    assert Variant(name="n", title="t").methods == ("lora", "fourierft", "full")

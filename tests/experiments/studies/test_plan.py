"""The runs of a study: read from its plan, searched for equally, carried out once, and shared between studies."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from experiments import record
from experiments.composing import composed
from experiments.config import load
from experiments.errors import Diverged, UserError
from experiments.locks import Held
from experiments.studies import STUDIES
from experiments.studies import plan as plans
from experiments.studies.plan import RunPlan, SearchPlan, read_study
from experiments.studies.runs import carry_out
from experiments.studies.sweep import Sweep
from tests.handmade import configured, run

SWEEPS = [name for name, study in STUDIES.items() if isinstance(study, Sweep)]
PLANS = [(name, scale) for name in SWEEPS for scale in ("paper", "small", "mini") if getattr(read_study(name), scale)]
MINI = "task=glue_rte model=roberta_mini method=fourierft"


@pytest.fixture
def ran(monkeypatch):
    """The configurations that are run, of which nothing is trained: each leaves a record."""
    configs = []

    def leave(config):
        configs.append(config)
        if not config.record_path.exists():
            record.write(configured(config), config.record_path)

    monkeypatch.setattr("experiments.pipeline.run", leave)
    return configs


@pytest.mark.parametrize(("name", "scale"), PLANS)
def test_the_runs_of_every_plan_compose_with_their_search(name, scale):
    plan = read_study(name).plan(name, scale)
    every = list(plan.settings.items())
    for setting, seeds in every[:: len(every) - 1]:  # the first and the last
        method = composed("config", *setting).method.name
        ranges = plan.search.ranges[method] if plan.search else {}
        point = [f"{key}={low}" for key, (low, _) in ranges.items()]
        config = load(*setting, *point, seeds[0])
        assert config.model.scale == scale
        assert len(set(seeds)) == len(seeds)


# The settings of a task and the seeds of each that the paper's plan has.
ENOUGH = {"scaling": (12, 5), "bias": (7, 5), "basis": (7, 5), "curves": (2, 5), "rank": (5, 5)}
ENOUGH |= {"initialisation": (2, 5), "luck": (2, 20), "grid": (6, 5)}


@pytest.mark.parametrize("name", [name for name, scale in PLANS if scale == "paper"])
def test_the_papers_plan_is_enough_for_a_verdict(name):
    """Every group that a study makes of the runs on the first task has the seeds that it asks for."""
    study, planned = STUDIES[name], read_study(name).plan(name, "paper").settings
    first = next(iter(planned))[:2]
    records = []
    for setting, seeds in planned.items():
        if setting[:2] == first:
            config = load(*setting)
            method = config.method.model_dump(mode="json", exclude={"name", "scale"})
            kind = config.method.name
            records += [run(exp="glue_rte", method=kind, seed=int(seed[5:]), rank=(24, 8), **method) for seed in seeds]
    groups = study.groups(records)
    settings, seeds = ENOUGH[name]
    assert len(groups) == settings and min(map(len, groups.values())) >= seeds


@pytest.mark.parametrize("name", SWEEPS)
def test_every_question_has_a_function_and_needs_tasks_of_the_plan(name, tmp_path):
    study = STUDIES[name]
    tasks = {task for _, task in study.planned}
    for question in study.file.questions:
        assert callable(study.ask(question.ask, tmp_path)) and set(question.tasks) <= tasks


def test_an_unknown_function_is_refused_by_its_name(tmp_path):
    with pytest.raises(UserError, match=r"grid\.yaml: ask=is_better: "):
        STUDIES["grid"].ask("is_better", tmp_path)


def test_a_line_is_every_combination_and_runs_that_differ_in_seed_are_one_setting():
    plan = RunPlan(runs=(f"{MINI} method.n=10,20 method.band=null,[0,5] seed=0,1", f"{MINI} method.n=30"))
    found = plan.settings
    start = tuple(MINI.split())
    assert found == {
        **{
            (*start, f"method.n={n}", f"method.band={band}"): ["seed=0", "seed=1"]
            for n in (10, 20)
            for band in ("null", "[0,5]")
        },
        (*start, "method.n=30"): ["seed=0"],
    }


def test_shares_are_all_settings_and_each_once(ran, tmp_path):
    plan = RunPlan(runs=(f"{MINI} method.n=10,20,30,40,50",))
    taken = []
    for part in (1, 2):
        ran.clear()
        assert not carry_out(plan, tmp_path / "one", ("tracking=off",), (part, 2)).failed
        taken.append([config.method.n for config in ran])
    assert taken == [[10, 30, 50], [20, 40]]
    assert {config.tracking.mode for config in ran} == {"off"}


def test_what_diverges_is_told_and_does_not_stop_the_rest(monkeypatch, tmp_path):
    def fail(config):
        if config.method.n in (10, 20):
            raise {10: Diverged, 20: torch.OutOfMemoryError}[config.method.n]("too much")

    monkeypatch.setattr("experiments.pipeline.run", fail)
    ended = carry_out(RunPlan(runs=(f"{MINI} method.n=10,20,30",)), tmp_path / "one")
    assert ended.done == 1 and len(ended.failed) == 2 and set(ended.failed.values()) == {"too much"}


def test_the_best_point_of_a_setting_is_tried_with_as_many_seeds_as_the_plan_says(monkeypatch, ran, tmp_path):
    searched = []

    def score(config):  # the rate nearest to 0.05 is the best
        if config.train.holdout:
            searched.append((config.recipe.lr, config.seed))
            return SimpleNamespace(
                metrics=SimpleNamespace(best=-abs(math.log10(config.recipe.lr / 0.05)) / 10), rank=None
            )
        return ran.append(config)

    monkeypatch.setattr("experiments.pipeline.run", score)
    effort = {"trials": 4, "extra": 8, "seeds": 3, "holdout": 0.25}
    search = SearchPlan(**effort, ranges={"fourierft": {"recipe.lr": (0.01, 0.5)}})
    assert carry_out(RunPlan(runs=(f"{MINI} method.n=10 seed=7",), search=search), tmp_path / "one").done == 1
    [run] = ran
    assert [seed for rate, seed in searched if rate == run.recipe.lr] == [7, 8, 9]
    assert run.recipe.trials == len(searched)


def test_every_setting_gets_the_same_effort_and_its_runs_the_best_point(monkeypatch, ran, tmp_path):
    searched = []

    def score(config):  # the higher rate is the better
        if config.train.holdout:
            searched.append(config)
            return SimpleNamespace(metrics=SimpleNamespace(best=config.recipe.lr / 10), rank=None)
        return ran.append(config)

    monkeypatch.setattr("experiments.pipeline.run", score)
    ranges = {"fourierft": {"recipe.lr": (0.01, 0.5)}}
    plan = RunPlan(
        runs=(f"{MINI} method.n=10,20 seed=3,4",),
        search=SearchPlan(trials=3, extra=2, holdout=0.25, ranges=ranges, overrides=("recipe.epochs=1",)),
    )
    assert carry_out(plan, tmp_path / "one").done == 4
    assert [config.method.n for config in searched] == [10] * 5 + [20] * 5
    assert {(config.recipe.epochs, config.seed, config.train.holdout) for config in searched} == {(1, 3, 0.25)}
    best = max(config.recipe.lr for config in searched)
    assert [(c.method.n, c.seed, c.recipe.lr, c.recipe.trials) for c in ran] == [
        (n, seed, best, 5)
        for seed in (3, 4)
        for n in (10, 20)  # every first seed before any second
    ]
    files = sorted((tmp_path / "one/search/glue_rte/roberta_mini").iterdir())
    assert [file.name for file in files] == ["fourierft_n10.json", "fourierft_n20.json"]
    assert all(len(json.loads(file.read_text())["trials"]) == 5 for file in files)

    searched.clear()  # a search that is there is read, not repeated, and goes on where it ended at an edge
    carry_out(plan, tmp_path / "one")
    assert searched == []
    further = plan.model_copy(update={"search": plan.search.model_copy(update={"extra": 3})})
    carry_out(further, tmp_path / "one")
    assert [(config.method.n, config.recipe.lr) for config in searched] == [(10, 2 * best), (20, 2 * best)]
    assert ran[-1].recipe.lr == 2 * best and ran[-1].recipe.trials == 6


def test_a_setting_that_states_its_rates_is_not_searched(ran, tmp_path):
    ranges = {"fourierft": {"recipe.lr": (0.01, 0.5)}}
    search = SearchPlan(trials=1, extra=1, holdout=0.25, ranges=ranges)
    carry_out(RunPlan(runs=(f"{MINI} method.n=10 recipe.lr=0.03 recipe.trials=7",), search=search), tmp_path / "one")
    assert [(c.recipe.lr, c.recipe.trials, c.train.holdout) for c in ran] == [(0.03, 7, None)]
    assert not (tmp_path / "one/search").exists()


def test_a_trial_that_another_process_holds_is_waited_for(monkeypatch, ran, tmp_path):
    """Its search is needed for the runs; a run that is held is left to the other, which needs nobody."""
    held, pauses = iter([True, True, False, False]), []

    def run(config):
        if config.train.holdout:
            assert config.seed == 3, "the first seed's, whichever run comes to it first"
        if config.train.holdout and next(held):
            raise Held("in use")
        if not config.train.holdout and config.seed == 4:
            raise Held("in use")
        score = SimpleNamespace(metrics=SimpleNamespace(best=0.5), rank=None)
        return score if config.train.holdout else ran.append(config)

    monkeypatch.setattr("experiments.pipeline.run", run)
    monkeypatch.setattr("experiments.work.time.sleep", pauses.append)
    ranges = {"fourierft": {"recipe.lr": (0.01, 0.5)}}
    search = SearchPlan(trials=1, extra=1, holdout=0.25, ranges=ranges)
    ended = carry_out(RunPlan(runs=(f"{MINI} method.n=10 seed=3,4",), search=search), tmp_path / "one")
    assert (ended.done, ended.failed, len(ended.left)) == (1, {}, 1) and "seed=4" in ended.left[0]
    assert [config.seed for config in ran] == [3] and len(pauses) == 1


def test_a_run_that_another_study_has_is_taken_over(ran, tmp_path):
    line = f"{MINI} method.n=10 seed=0"
    carry_out(RunPlan(runs=(line,)), tmp_path / "one")
    carry_out(RunPlan(runs=(line,)), tmp_path / "two")
    first, second = (config.record_path for config in ran)
    assert first.relative_to(tmp_path / "one") == second.relative_to(tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()
    kept = configured(ran[1], commit="d" * 40)
    record.write(kept, second)  # what a study has itself stays
    carry_out(RunPlan(runs=(line,)), tmp_path / "two")
    assert record.read(second) == kept


@pytest.fixture
def configs(monkeypatch, tmp_path):
    """A folder of configurations with a study `own`, whose plan the test writes."""
    (tmp_path / "study").mkdir()
    monkeypatch.setattr(plans, "PLANS", tmp_path / "study")
    return tmp_path / "study/own.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mini: { runs: [] }", "mini.runs"),
        ("mini: { runs: [a=b], serach: {} }", "mini.serach"),
        ("mini: { runs: [a=b], search: { trials: 0, holdout: 0.1, ranges: {} } }", "mini.search.trials=0"),
        ("small: { runs: [a=b] }", "no runs of scale mini: own.yaml lists small"),
    ],
)
def test_a_wrong_plan_is_refused_by_its_key(configs, text, words):
    configs.write_text(f"title: Own\nlabels: [n]\nquestions: []\n{text}")
    with pytest.raises(UserError, match=words):
        read_study("own").plan("own", "mini")

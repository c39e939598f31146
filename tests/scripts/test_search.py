"""The search: on a slice of train, the same trials again after an interruption, one file with every trial."""

import json

import pytest

from experiments import record
from experiments.errors import UserError
from scripts import search

BASE = [
    "+exp=glue_sst2",
    "model=roberta_mini",
    "tracking=off",
    "train.device=cpu",
    "train.rows=48",
    "train.max_steps=2",
]


@pytest.fixture
def overrides(tmp_path):
    return [*BASE, f"runs={tmp_path}/runs"]


def test_trials_are_recorded_chosen_on_train_and_not_repeated(overrides, tmp_path, monkeypatch):
    found = search.search([*overrides, "method=lora"], trials=2, holdout=0.25, out=tmp_path / "search")
    assert json.loads((tmp_path / "search/glue_sst2/roberta_mini/lora.json").read_text()) == found
    assert len(found["trials"]) == 2
    assert found["best"]["score"] == max(trial["score"] for trial in found["trials"])
    for key, (low, high) in found["ranges"].items():
        assert all(low <= trial[key] <= high for trial in found["trials"])
        assert len({trial[key] for trial in found["trials"]}) == 2
    runs = [record.read(path) for path in (tmp_path / "runs").rglob("seed0-*.json")]
    # 48 rows of train and of validation were asked for; both parts come from the training rows.
    assert [run.dataset.rows for run in runs] == [{"train": 36, "validation": 12}] * 2
    assert {run.metrics.best for run in runs} == {trial["score"] for trial in found["trials"]}

    monkeypatch.setattr("experiments.pipeline.train", lambda *_: pytest.fail("a recorded trial was run again"))
    assert search.search([*overrides, "method=lora"], trials=2, holdout=0.25, out=tmp_path / "search") == found


def test_a_diverged_trial_is_the_worst(overrides, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "ranges", lambda _: {"recipe.lr": [1e29, 1e30]})
    found = search.search([*overrides, "method=full", "recipe.warmup_ratio=0"], 1, 0.25, tmp_path / "search")
    assert found["best"]["score"] == -1.0


def test_a_method_without_ranges_is_named(overrides, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "CONFIGS", tmp_path)
    with pytest.raises(UserError, match=r"search/lora\.yaml: no ranges for method lora"):
        search.search([*overrides, "method=lora"], trials=1, holdout=0.25, out=tmp_path)

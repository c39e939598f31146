"""MNLI, whose two validation sets are this suite's validation and test."""

import pytest

from experiments import pipeline
from experiments.mini import glue

HUB = "{}-00000-of-00001.parquet"
NAMES = {"train": "train", "validation": "validation_matched", "test": "validation_mismatched"}


@pytest.mark.parametrize("form", ["{}.parquet", HUB], ids=["by split", "as on the hub"])
def test_mnli_s_mismatched_set_is_its_test_set(make, tmp_path, form):
    folder = tmp_path / "datasets" / "glue" / "mnli"
    folder.mkdir(parents=True)
    rows = {split: glue.generate("mnli", split).select(range(20 + i)) for i, split in enumerate(NAMES)}
    for split, name in NAMES.items():
        rows[split].to_parquet(folder / form.format(name if form == HUB else split))
    config = make("+exp=glue_mnli", f"assets.root={tmp_path}")
    read = config.task.load(config.task.find(config.assets, mini=False))
    assert {split: found["premise"][:] for split, found in read.items()} == {
        s: r["premise"][:] for s, r in rows.items()
    }


def test_a_run_on_mnli_is_scored_on_both(make):
    done = pipeline.run(make("+exp=glue_mnli", "train.max_steps=2", "train.rows=40"))
    assert done.dataset.rows == {"train": 40, "validation": 40, "test": 40}
    assert set(done.metrics.test.best) == {"loss", "accuracy"}

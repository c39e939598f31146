"""An image run from end to end on the miniature: test scores, pictures, interruption, bad input."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision.transforms import v2
from transformers import TrainerCallback, TrainerState

from experiments import cells, pipeline, record, training
from experiments.data.images import Images
from experiments.errors import UserError
from experiments.measure import loader

QUICK = ("+exp=vit_cifar", "model=vit_mini", "train.rows=48", "recipe.epochs=2", "train.workers=0")


@pytest.mark.parametrize("method", ["fourierft", "full"])
def test_a_run_is_scored_on_test_by_its_best_and_its_last_weights(make, method, capsys):
    config = make(*QUICK, f"method={method}", "tracking=offline")
    done = pipeline.run(config)
    assert done == record.read(config.record_path)
    assert (done.status, done.scale, done.seed, done.dataset.name) == ("ok", "mini", 7, "mini/digits")
    assert done.dataset.rows == {"train": 48, "validation": 48, "test": 48}
    assert done.dataset.skipped == {"train": 0, "validation": 0, "test": 0}
    test = done.metrics.test
    assert set(test.best) == set(test.last) == {"accuracy", "loss"}
    assert done.cost.samples_per_s > 0 and done.cost.eval_samples_per_s > 0 and done.cost.loader_samples_per_s > 0
    assert f"on test      accuracy {test.best['accuracy']:.4g}: best" in capsys.readouterr().out
    folder = config.runs / config.name
    assert (folder / "images.png").exists() and (folder / "mistakes.png").exists()
    [run] = (folder / "wandb").glob("offline-run-*")
    tables = {path.name.split("_")[0] for path in (run / "files" / "media" / "table").iterdir() if path.is_file()}
    assert tables == {"mistakes", "rank"}


def test_the_recorded_score_is_that_of_the_saved_weights_on_the_test_set(make):
    config = make(*QUICK, "method=head_only", "recipe.head_lr=3e-2", "recipe.epochs=3")
    done = pipeline.run(config)
    weights, data = pipeline.find(config)
    prepared = config.task.prepare(config.model, weights, data, config.train, config.recipe, config.seed)
    scores = {}
    for which in ("best", "last"):
        [file] = (config.runs / config.name / which).glob("*.safetensors")
        prepared.model.load_state_dict(load_file(file), strict=False)
        batch = prepared.collate([prepared.test[i] for i in range(48)])
        with torch.no_grad():
            right = prepared.model.eval()(**batch).logits.argmax(-1) == batch["labels"]
        scores[which] = right.float().mean().item()
    assert scores["best"] == pytest.approx(done.metrics.test.best["accuracy"])
    assert scores["last"] == pytest.approx(done.metrics.test.last["accuracy"])


class Stop(TrainerCallback):
    """Ends a run after its first epoch's checkpoint."""

    def on_save(self, args, state, control, **kwargs):
        raise KeyboardInterrupt


def test_an_interrupted_run_sees_the_same_crops_and_ends_the_same(make, tmp_path, monkeypatch):
    """With loader processes in one and none in the other, which a result must not depend on either."""
    whole = pipeline.run(make(*QUICK, f"runs={tmp_path}/whole", f"record.dir={tmp_path}/whole"))
    config = make(*QUICK[:-1], "train.workers=2")
    stopping = [*config.method.callbacks(), Stop()]
    with monkeypatch.context() as patched:
        patched.setattr(type(config.method), "callbacks", lambda self: stopping)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(config)
    assert record.read(config.record_path.with_suffix(".failed.json")).status == "cancelled"
    resumed = pipeline.run(config)
    assert resumed.config_hash == whole.config_hash and resumed.metrics == whole.metrics


def test_crops_are_new_in_every_epoch_whoever_loads_the_data():
    """Accelerate tells a dataset of the epoch only where one process has all batches."""
    images = Images([], [], None)
    loader = torch.utils.data.DataLoader(images)
    for epoch in (0.0, 1.0, 2.0):
        training.Epochs().on_epoch_begin(None, TrainerState(epoch=epoch), None, train_dataloader=loader)
        assert images.epoch == epoch


def test_images_have_no_length_to_group_by(make):
    config = make(*QUICK, "method=head_only", "recipe.epochs=1", "train.group_by_length=true")
    assert config.train.group_by_length and pipeline.run(config).status == "ok"


def test_leaving_images_out_is_not_the_paper_s_scale(make, monkeypatch):
    config = make(*QUICK, "method=head_only", "recipe.epochs=1")
    monkeypatch.setattr(cells, "standing", lambda *_: ("paper", "a cell"))
    assert pipeline.run(config).scale == "paper"
    prepare = type(config.task).prepare

    def less(*arguments):
        return dataclasses.replace(prepare(*arguments), skipped={"train": 1, "test": 0})

    monkeypatch.setattr(type(config.task), "prepare", less)
    done = pipeline.run(make(*QUICK, "method=head_only", "recipe.epochs=1", "force=true"))
    assert (done.scale, done.paper_cell, done.dataset.skipped) == ("small", None, {"train": 1, "test": 0})


def test_a_trial_does_not_see_the_test_set(make):
    done = pipeline.run(make(*QUICK, "method=head_only", "recipe.epochs=1", "train.holdout=0.25"))
    assert done.dataset.rows == {"train": 36, "validation": 12} and done.metrics.test is None


def test_the_loader_is_timed_without_the_model_and_without_what_was_ready(monkeypatch):
    images = Images([np.zeros((8, 8), dtype=np.uint8)] * 64, [0] * 64, v2.PILToTensor())

    def loading(workers):
        return torch.utils.data.DataLoader(images, 16, num_workers=workers, collate_fn=lambda rows: {"labels": rows})

    quarters = itertools.count()
    monkeypatch.setattr(loader.time, "perf_counter", lambda: next(quarters) / 4)
    assert loader.rate(loading(0)) == pytest.approx(3 * 16 / 0.75)
    assert loader.rate(loading(1)) == pytest.approx(16 / 0.25), "three of the four may have been ready"
    assert loader.rate(loading(2)) is None, "all may have been"
    monkeypatch.setattr(loader, "PATIENCE", 0.0)
    assert loader.rate(loading(0)) == pytest.approx(16 / 0.25), "patience ends with the first that is counted"


def test_a_head_of_another_name_is_an_error_that_tells_it(make):
    with pytest.raises(UserError, match=r"model\.head=head: ViTForImageClassification .* model\.head=\[classifier\]"):
        pipeline.run(make(*QUICK, "model.head=[head]"))


def test_labels_are_those_of_the_set_not_of_the_pretraining(make):
    config = make(*QUICK)
    weights, data = pipeline.find(config)
    model = config.task.prepare(config.model, weights, data, config.train, config.recipe, 0).model
    assert model.config.id2label == {i: str(i) for i in range(10)} and model.classifier.out_features == 10

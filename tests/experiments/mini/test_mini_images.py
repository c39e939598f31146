"""The miniature world of images: digits and invented characters are well formed, the checkpoint knows how to look."""

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForImageClassification, ViTConfig

from experiments.data.assets import EMBEDDED
from experiments.data.images import Images, View
from experiments.mini import digits, glyphs
from experiments.pretraining.pictures import Mixing, Pictures, pretrain
from experiments.pretraining.training import Order
from scripts import pretrain_mini

CHECKPOINT = EMBEDDED / "vit"


def test_the_digits_are_split_once_and_for_all():
    parts = {split: digits.generate(split) for split in ("train", "validation", "test")}
    assert {split: len(labels) for split, (_, labels) in parts.items()} == {
        "train": 1257,
        "validation": 180,
        "test": 360,
    }
    rows = Counter(image.tobytes() for images, _ in parts.values() for image in images)
    assert sum(rows.values()) == 1797 and max(rows.values()) == 1, "every image once"
    for images, labels in parts.values():
        assert max(image.max() for image in images) == 255 and {image.shape for image in images} == {(8, 8)}
        shares = np.bincount(labels, minlength=len(digits.CLASSES)) / len(labels)
        assert abs(shares - 0.1).max() < 0.01, "the classes in equal shares"
    again, _ = digits.generate("test")
    assert all(np.array_equal(one, other) for one, other in zip(parts["test"][0], again, strict=True))
    with pytest.raises(ValueError, match=r"'tset'.*validation"):
        digits.generate("tset")


def test_a_character_is_its_form_and_a_drawing_its_own():
    images, labels = glyphs.generate(classes=6, each=12, seed=0)
    assert labels == sorted(list(range(6)) * 12) and {image.shape for image in images} == {(32, 32)}
    again, other = (glyphs.generate(6, 12, seed)[0] for seed in (0, 1))
    assert all(np.array_equal(one, same) for one, same in zip(images, again, strict=True))
    assert not any(np.array_equal(one, drawn) for one, drawn in zip(images, other, strict=True))
    assert len({image.tobytes() for image in images}) == len(images)
    flat = np.stack([image.ravel() / 255.0 for image in (*images, *other)])
    model = LogisticRegression(max_iter=200).fit(flat[: len(images)], labels)
    assert model.score(flat[len(images) :], labels) > 0.5, "other drawings of a character are like it"


def test_the_checkpoint_s_features_tell_characters_that_it_never_saw():
    """A linear probe with five examples a class does much better on them than on those of a model not trained."""
    images, labels = glyphs.generate(classes=40, each=15, seed=5)
    chosen = [i for i, label in enumerate(labels) if label >= 20]  # it was pre-trained on the first twenty
    view = View.of(CHECKPOINT)
    rows = Images([images[i] for i in chosen], [labels[i] for i in chosen], view.evaluation)
    batch = view.collate([rows[i] for i in range(len(rows))])
    known = np.arange(len(rows)) % 15 < 5
    trained = AutoModelForImageClassification.from_pretrained(CHECKPOINT)
    torch.manual_seed(0)
    scores = []
    for model in (trained, AutoModelForImageClassification.from_config(trained.config)):
        with torch.no_grad():
            seen = model.eval().vit(batch["pixel_values"]).last_hidden_state[:, 0].numpy()
        probe = LogisticRegression(max_iter=300).fit(seen[known], batch["labels"][known])
        scores.append(probe.score(seen[~known], batch["labels"][~known]))
    assert scores[0] > 0.8 and scores[0] > scores[1] + 0.2, scores


def test_only_the_head_is_new_and_the_checkpoint_is_small():
    model, loading = AutoModelForImageClassification.from_pretrained(
        CHECKPOINT, num_labels=10, output_loading_info=True
    )
    assert set(loading["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert not loading["unexpected_keys"] and model.classifier.out_features == 10
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 1.3e6


class Killed(Exception):
    """As if the process had been killed."""


def test_an_interrupted_pretraining_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    drawn = glyphs.generate(classes=4, each=6, seed=0)
    pictures = Pictures(drawn, drawn, classes=4, smallest_crop=0.8, flip=False, mix=True)

    def run(out):
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = ViTConfig(image_size=32, patch_size=16, **shape)
        pretrain(Order(out, seed=3), pictures, config, epochs=3, batch_size=8, lr=5e-5)
        return (out / "model.safetensors").read_bytes()

    steps, train = [], Mixing.training_step

    def counted(self, *args, **kwargs):
        steps.append(self.state.global_step)
        return train(self, *args, **kwargs)

    monkeypatch.setattr(Mixing, "training_step", counted)
    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patched:
        saving = "experiments.training.Epochs.on_save"

        def killed(*_, **__):
            raise Killed

        patched.setattr(saving, killed, raising=False)
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    assert list((tmp_path / "killed").glob("checkpoint-*"))
    assert "LABEL" not in (tmp_path / "whole" / "config.json").read_text(), "the classes go with the head"
    assert run(tmp_path / "killed") == whole
    assert steps == [*range(9), *range(3), *range(3, 9)], "no step of the first epoch twice"
    assert not list((tmp_path / "killed").glob("checkpoint-*"))


def test_without_cifar_the_small_model_says_what_it_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FOURIERFT_ASSETS", raising=False)
    for options, words in (
        ([], "--assets or FOURIERFT_ASSETS"),
        (["--assets", str(tmp_path)], "cifar100/train.parquet"),
    ):
        assert pretrain_mini.main(["--model", "vit_tiny", "--out", str(tmp_path / "out"), *options]) == 2
        assert words in capsys.readouterr().err and not (tmp_path / "out").exists()

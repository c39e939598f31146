"""What the task of images does: the classifier and its size, its metrics, and what it leaves of the test set."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification, EvalPrediction
from transformers.trainer_utils import PredictionOutput

from experiments.data.images import Images
from experiments.errors import UserError
from experiments.measure import mistakes
from experiments.models.dropout import dropout_settings
from experiments.models.pretrained import read_model
from experiments.tasks.base import Merged, Predict, Tested, class_loss, evaluated
from experiments.tracking import Tracker


def classifier(
    folder: Path,
    names: Sequence[str],
    head: tuple[str, ...] | Literal["auto"],
    attention: str,
    dropout: float | None = None,
) -> nn.Module:
    """The model in a folder, in transformers' form or in timm's, float32, with a new head for classes of these names.

    attention: the implementation, for transformers' models; timm picks its own. dropout: None keeps the model's own.
    Raises UserError for dropout in a type of model whose settings are not known here.
    """
    # The number is given too: timm's form has one of its own, which would take precedence over the names.
    labels = {"num_labels": len(names), "id2label": dict(enumerate(names))}
    labels |= {"label2id": {name: label for label, name in enumerate(names)}}
    config = AutoConfig.from_pretrained(folder, local_files_only=True, **labels)
    drops = dropout_settings(config.model_type, dropout)
    if config.model_type == "timm_wrapper":
        own = {key: value for key, value in (config.model_args or {}).items() if key != "num_classes"}  # given above
        config.model_args, options = {**own, **drops}, {}
    else:
        config.update(drops)
        options = {"attn_implementation": attention}
    return read_model(AutoModelForImageClassification, folder, head, config=config, dtype=torch.float32, **options)


def check_size(model: nn.Module, size: tuple[int, int], folder: Path) -> None:
    """Raises UserError where the model does not read images of that height and width: some read any."""
    own = getattr(model.config, "image_size", None)
    if size == (own, own):
        return
    try:
        with torch.no_grad():
            model(pixel_values=torch.zeros(1, 3, *size))
    except (ValueError, RuntimeError, AssertionError) as error:
        told = f"its image processor makes {size[0]} x {size[1]} pixels, which the model does not read ({error})"
        remedy = "correct `size` in preprocessor_config.json, or config.json for a model in timm's form"
        raise UserError(f"{folder}: {told}; {remedy}") from error


def score(outputs: EvalPrediction) -> dict[str, float]:
    right = accuracy_score(outputs.label_ids, np.argmax(outputs.predictions, axis=-1))
    return {**evaluated(class_loss, outputs), "accuracy": float(right)}


def test(
    images: dict[str, Images], names: list[str], model: nn.Module, predict: Predict, folder: Path, merged: Merged
) -> Tested:
    predicted = predict(images["test"])
    return Tested(predicted.metrics, functools.partial(show, images, names, predicted))


def show(
    images: dict[str, Images], names: list[str], predicted: PredictionOutput, folder: Path, tracker: Tracker
) -> None:
    """Save and track images.png (training images as the model sees them) and mistakes.png (the worst on test)."""
    mistakes.draw_inputs(images["train"], names, folder / "images.png")
    tracker.image("images", folder / "images.png")
    worst = mistakes.worst(predicted.predictions, predicted.label_ids)
    mistakes.draw(worst, images["test"], names, folder / "mistakes.png")
    tracker.image("mistakes_plot", folder / "mistakes.png")
    tracker.table("mistakes", *mistakes.rows(worst, images["test"], names))

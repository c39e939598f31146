"""Image classification: eight sets, one path. The facts of a set stand in configs/task/vit_<set>.yaml."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image
from pydantic import Field, NonNegativeInt, PositiveInt
from sklearn.metrics import accuracy_score
from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification, EvalPrediction
from transformers.trainer_utils import PredictionOutput

from experiments.data import image_sets
from experiments.data.assets import SPLITS, Assets, Model, Source, Split, find_images
from experiments.data.images import Images, View
from experiments.errors import UserError
from experiments.measure import mistakes
from experiments.mini import digits
from experiments.models.dropout import dropout_settings
from experiments.models.pretrained import read_model
from experiments.settings import Recipe, Train
from experiments.tasks.base import Data, Merged, Predict, Prepared, Splits, Task, Tested, class_loss, evaluated
from experiments.tracking import Tracker
from experiments.typed import Share


class ImageTask(Task):
    """One set of images. A split that it lacks is a share of train; the share is None where the set has that split.

    classes: their number; None: as many as there are.
    """

    family: Literal["images"]
    name: str
    local: str
    hub: dict[Split, str] | None
    image: str
    label: str
    classes: PositiveInt | None
    rows: dict[Split, PositiveInt]
    validation_share: Share | None
    test_share: Share | None
    split_seed: NonNegativeInt
    smallest_crop: Annotated[float, Field(gt=0, le=1)]
    flip: bool
    unreadable: Literal["error", "skip"]

    def locate(self, assets: Assets) -> Source | None:
        return find_images(self.local, self.hub, assets)

    def read(self, source: Source) -> Splits:
        """All three splits, of images undecoded and labels that are checked and named. Raises UserError."""
        found = image_sets.read(source, self.image, self.label, self.classes)
        where = f"{self.name} from {source.id}"
        return image_sets.complete(found, self.validation_share, self.test_share, self.split_seed, where)

    def miniature(self) -> Source:
        return Source("mini/digits", "embedded", digits.__name__, {})

    def generate(self) -> Splits:
        features = Features({"image": Image(), "label": ClassLabel(names=list(digits.CLASSES))})
        splits = {}
        for split in SPLITS:
            images, labels = digits.generate(split)
            rows = Dataset.from_dict({"image": images, "label": labels}, features=features)
            splits[split] = rows.cast_column("image", image_sets.UNDECODED)
        return splits

    def content(self, splits: Splits) -> Iterator[bytes]:
        """Pixels and labels."""
        for rows in splits.values():
            for row in rows.cast_column("image", Image()):
                yield row["image"].tobytes() + bytes([row["label"]])

    def cut(self, splits: Splits, train: Train) -> Splits:
        """Rows are shuffled first, since files are often sorted by class."""
        if train.rows:
            splits = {split: rows.shuffle(seed=self.split_seed) for split, rows in splits.items()}
        return super().cut(splits, train)

    def prepare(self, model: Model, weights: Source, data: Data, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Raises UserError for an image that cannot be read, or that is of a size that the model does not read."""
        folder = weights.files["config.json"].parent
        view = View.of(folder)
        found = self.cut(data.splits, train)
        skip = self.unreadable == "skip"
        splits = {split: image_sets.readable(rows, skip, f"{self.name}, {split}") for split, rows in found.items()}
        names = splits["train"].features["label"].names
        generated = not data.source.files
        crop, flip = (digits.SMALLEST_CROP, digits.FLIP) if generated else (self.smallest_crop, self.flip)
        transforms = {"train": view.training(crop, flip), "validation": view.evaluation, "test": view.evaluation}
        images = {
            split: Images(rows["image"], rows["label"][:], transforms[split], seed) for split, rows in splits.items()
        }
        network = classifier(folder, names, model.head, train.attention_kernel(), model.dropout)
        _check_size(network, view.size, folder)
        return Prepared(
            model=network,
            train=images["train"],
            validation=images["validation"],
            test=images.get("test"),
            skipped={split: len(found[split]) - len(rows) for split, rows in splits.items()},
            collate=view.collate,
            metrics=_score,
            primary="accuracy",
            direction="max",
            loss=class_loss,
            lengths=False,
            score=functools.partial(_test, images, names) if "test" in images else None,
        )


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


def _check_size(model: nn.Module, size: tuple[int, int], folder: Path) -> None:
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


def _score(outputs: EvalPrediction) -> dict[str, float]:
    right = accuracy_score(outputs.label_ids, np.argmax(outputs.predictions, axis=-1))
    return {**evaluated(class_loss, outputs), "accuracy": float(right)}


def _test(
    images: dict[str, Images], names: list[str], model: nn.Module, predict: Predict, folder: Path, merged: Merged
) -> Tested:
    predicted = predict(images["test"])
    return Tested(predicted.metrics, functools.partial(_show, images, names, predicted))


def _show(
    images: dict[str, Images], names: list[str], predicted: PredictionOutput, folder: Path, tracker: Tracker
) -> None:
    """Save and track images.png (training images as the model sees them) and mistakes.png (the worst on test)."""
    mistakes.draw_inputs(images["train"], names, folder / "images.png")
    tracker.image("images", folder / "images.png")
    worst = mistakes.worst(predicted.predictions, predicted.label_ids)
    mistakes.draw(worst, images["test"], names, folder / "mistakes.png")
    tracker.image("mistakes_plot", folder / "mistakes.png")
    tracker.table("mistakes", *mistakes.rows(worst, images["test"], names))

"""Image classification: eight sets, one path. The facts of a set stand in configs/task/vit_<set>.yaml."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification, EvalPrediction
from transformers.trainer_utils import PredictionOutput

from experiments.data import image_sets
from experiments.data.assets import Assets, Model, Source, find_images
from experiments.data.images import Images, View
from experiments.errors import UserError
from experiments.measure import mistakes
from experiments.metrics.accuracy import Accuracy
from experiments.mini import digits
from experiments.models.dropout import dropout_settings
from experiments.models.pretrained import read_model
from experiments.settings import Recipe, Train
from experiments.tasks.base import (
    Merged,
    Predict,
    Prepared,
    Tested,
    class_loss,
    evaluated,
    first_rows,
    hold_out,
    identity,
)
from experiments.tracking import Off
from experiments.typed import Share, Typed

Split = Literal["train", "validation", "test"]
HEADS = ("classifier", "head")  # what the new layer is called in transformers' form and in timm's


class ImageTask(Typed):
    """One set of images. Splits that it lacks are drawn from train: a share, or None where it has one of its own."""

    family: Literal["images"]
    name: str
    local: str
    hub: dict[Split, str] | None
    image: str
    label: str
    classes: PositiveInt
    rows: dict[Split, PositiveInt]
    validation_share: Share | None
    test_share: Share | None
    split_seed: NonNegativeInt
    smallest_crop: Annotated[float, Field(gt=0, le=1)]
    flip: bool
    unreadable: Literal["error", "skip"]

    def find(self, assets: Assets, mini: bool) -> Source | None:
        """Where the data are; handwritten digits at scale mini."""
        if mini:
            return Source("mini/digits", "embedded", "experiments.mini.digits", {})
        return find_images(self.local, self.hub, assets)

    def is_whole(self, source: Source) -> bool:
        """Whether the source holds as many rows as the set of the paper."""
        return {split: len(rows) for split, rows in self.splits(source).items()} == self.rows

    def prepare(self, model: Model, weights: Source, data: Source, train: Train, recipe: Recipe, seed: int) -> Prepared:
        """Load model and data. Raises UserError for a file, a split, a label or an image that is not as it should be.

        With `train.holdout` the test set stays out of sight.
        """
        folder = weights.files["config.json"].parent
        view = View.of(folder)
        found = self._cut(self.splits(data), train)
        skip = self.unreadable == "skip"
        splits = {split: image_sets.readable(rows, skip, f"{self.name}, {split}") for split, rows in found.items()}
        names = splits["train"].features["label"].names
        embedded = data.source == "embedded"
        crop, flip = (digits.SMALLEST_CROP, digits.FLIP) if embedded else (self.smallest_crop, self.flip)
        transforms = {"train": view.training(crop, flip), "validation": view.evaluation, "test": view.evaluation}
        images = {
            split: Images(rows["image"], rows["label"][:], transforms[split], seed) for split, rows in splits.items()
        }
        network = classifier(folder, names, train.attention_kernel(), model.dropout)
        _check_size(network, view.size, folder)
        return Prepared(
            model=network,
            train=images["train"],
            validation=images["validation"],
            test=images.get("test"),
            skipped={split: len(found[split]) - len(rows) for split, rows in splits.items()},
            collate=view.collate,
            metrics=functools.partial(_score, Accuracy()),
            primary="accuracy",
            direction="max",
            loss=class_loss,
            lengths=False,
            score=functools.partial(_test, images, names) if "test" in images else None,
        )

    def splits(self, data: Source) -> dict[str, Dataset]:
        """All three splits, of images undecoded and labels that are checked and named. Raises UserError."""
        if data.source == "embedded":
            return {split: _embedded(split) for split in image_sets.SPLITS}
        found = image_sets.read(data, self.image, self.label, self.classes)
        where = f"{self.name} from {data.id}"
        return image_sets.complete(found, self.validation_share, self.test_share, self.split_seed, where)

    def _cut(self, splits: dict[str, Dataset], train: Train) -> dict[str, Dataset]:
        """What a test or a trial uses of them; rows are shuffled first, since files are often sorted by class."""
        if train.rows:
            shuffled = {split: rows.shuffle(seed=self.split_seed) for split, rows in splits.items()}
            splits = first_rows(shuffled, train.rows)
        if not train.holdout:
            return splits
        return hold_out(splits["train"], train.holdout)

    def identity(self, data: Source) -> dict[str, Any]:
        """What a record says of the data; of the embedded set, the sha256 of its pixels and labels."""
        return identity(data, _digits)


def classifier(folder: Path, names: Sequence[str], attention: str, dropout: float | None = None) -> nn.Module:
    """The model in a folder, in transformers' form or in timm's, float32, with a new head for classes of these names.

    attention: the implementation, for transformers' models; timm picks its own. dropout: None is the model's own.
    Raises UserError where another is asked of a kind of model not known here.
    """
    # The number is said too: timm's form has one of its own, which would win over the names.
    labels = {"num_labels": len(names), "id2label": dict(enumerate(names))}
    labels |= {"label2id": {name: label for label, name in enumerate(names)}}
    config = AutoConfig.from_pretrained(folder, local_files_only=True, **labels)
    drops = dropout_settings(config.model_type, dropout)
    if config.model_type == "timm_wrapper":
        own = {key: value for key, value in (config.model_args or {}).items() if key != "num_classes"}  # given again
        config.model_args, options = {**own, **drops}, {}
    else:
        config.update(drops)
        options = {"attn_implementation": attention}
    return read_model(AutoModelForImageClassification, folder, HEADS, config=config, dtype=torch.float32, **options)


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


def _embedded(split: str) -> Dataset:
    images, labels = digits.generate(split)
    features = Features({"image": Image(), "label": ClassLabel(names=list(digits.CLASSES))})
    return Dataset.from_dict({"image": images, "label": labels}, features=features).cast_column(
        "image", image_sets.UNDECODED
    )


def _digits() -> Iterator[bytes]:
    for split in image_sets.SPLITS:
        for image, label in zip(*digits.generate(split), strict=True):
            yield image.tobytes() + bytes([label])


def _score(metric: Accuracy, outputs: EvalPrediction) -> dict[str, float]:
    scores = metric.compute(predictions=np.argmax(outputs.predictions, axis=-1), references=outputs.label_ids)
    return {**evaluated(class_loss, outputs), **scores}


def _test(
    images: dict[str, Images], names: list[str], model: nn.Module, predict: Predict, folder: Path, merged: Merged
) -> Tested:
    predicted = predict(images["test"])
    return Tested(predicted.metrics, functools.partial(_show, images, names, predicted))


def _show(images: dict[str, Images], names: list[str], predicted: PredictionOutput, folder: Path, tracker: Off) -> None:
    """images.png: training images as the model sees them; mistakes.png: the worst of the test set; both tracked."""
    mistakes.draw_inputs(images["train"], names, folder / "images.png")
    tracker.image("images", folder / "images.png")
    worst = mistakes.worst(predicted.predictions, predicted.label_ids)
    mistakes.draw(worst, images["test"], names, folder / "mistakes.png")
    tracker.image("mistakes_plot", folder / "mistakes.png")
    tracker.table("mistakes", *mistakes.rows(worst, images["test"], names))

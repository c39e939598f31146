"""Image classification: eight sets, one path. The facts of a set stand in configs/task/vit_<set>.yaml."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from experiments.data.assets import SPLITS, Assets, Model, Source, Split, find_images
from experiments.mini import digits
from experiments.settings import Recipe, Train
from experiments.tasks.base import Data, Prepared, Splits, Task, class_loss
from experiments.typed import Share


@functools.cache
def _digits() -> Splits:
    """The miniature's images, undecoded."""
    from datasets import ClassLabel, Dataset, Features, Image

    from experiments.data import image_sets

    features = Features({"image": Image(), "label": ClassLabel(names=list(digits.CLASSES))})
    splits = {}
    for split in SPLITS:
        images, labels = digits.generate(split)
        rows = Dataset.from_dict({"image": images, "label": labels}, features=features)
        splits[split] = rows.cast_column("image", image_sets.UNDECODED)
    return splits


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
        from experiments.data import image_sets

        found = image_sets.read(source, self.image, self.label, self.classes)
        where = f"{self.name} from {source.id}"
        return image_sets.complete(found, self.validation_share, self.test_share, self.split_seed, where)

    def miniature(self) -> Source:
        return Source("mini/digits", "embedded", digits.__name__, {})

    def generate(self) -> Splits:
        return dict(_digits())

    def content(self, splits: Splits) -> Iterator[bytes]:
        """Pixels and labels."""
        from datasets import Image

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
        from experiments.data import image_sets
        from experiments.data.images import Images, View
        from experiments.tasks import classified

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
        network = classified.classifier(folder, names, model.head, train.attention_kernel(), model.dropout)
        classified.check_size(network, view.size, folder)
        return Prepared(
            model=network,
            train=images["train"],
            validation=images["validation"],
            test=images.get("test"),
            skipped={split: len(found[split]) - len(rows) for split, rows in splits.items()},
            collate=view.collate,
            metrics=classified.score,
            primary="accuracy",
            direction="max",
            loss=class_loss,
            lengths=False,
            score=functools.partial(classified.test, images, names) if "test" in images else None,
        )

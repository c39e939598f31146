"""Images as a model reads them: decoded, cropped and flipped, batched. Draws depend on seed, epoch and row alone."""

import io
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2
from transformers import AutoImageProcessor, BatchFeature

from experiments.errors import UserError


@dataclass(frozen=True)
class View:
    """How a model wants its images: side in pixels, share of an image's side that evaluation keeps, normalisation."""

    size: int
    crop: float
    interpolation: v2.InterpolationMode
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, folder: Path) -> "View":
        """The view that a model's folder asks for: timm's data configuration, or the image processor's settings.

        Raises UserError where it has neither, or where they name no height.
        """
        try:
            processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        except OSError as error:
            raise UserError(f"{folder}: no image processor ({error}); add preprocessor_config.json") from error
        if timm := getattr(processor, "data_config", None):
            mode = v2.InterpolationMode(timm["interpolation"])
            return cls(timm["input_size"][-1], timm["crop_pct"], mode, timm["mean"], timm["std"])
        size = (getattr(processor, "crop_size", None) or processor.size).get("height")
        if size is None:
            raise UserError(f"{folder}/preprocessor_config.json: size={processor.size}: has no height; give it one")
        mode = v2.InterpolationMode[Image.Resampling(processor.resample).name]
        mean, std = tuple(processor.image_mean), tuple(processor.image_std)
        return cls(size, 1.0, mode, mean, std)

    def training(self, smallest_crop: float, flip: bool) -> v2.Transform:
        """A random part of the image of at least that share of its area, stretched; flipped or not. PIL to uint8."""
        crop = v2.RandomResizedCrop(self.size, scale=(smallest_crop, 1.0), interpolation=self.interpolation)
        return v2.Compose([crop, *([v2.RandomHorizontalFlip()] if flip else []), v2.PILToTensor()])

    def evaluation(self) -> v2.Transform:
        """The middle of the image. PIL to uint8."""
        resize = v2.Resize(int(self.size / self.crop), interpolation=self.interpolation)
        return v2.Compose([resize, v2.CenterCrop(self.size), v2.PILToTensor()])

    def collate(self, rows: list[dict[str, Any]]) -> BatchFeature:
        """pixel_values (rows, 3, size, size) float32, normalised; labels (rows) int64."""
        pixels = torch.stack([row["pixel_values"] for row in rows]).float()
        mean, std = (255 * torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        labels = torch.tensor([row["labels"] for row in rows])
        return BatchFeature({"pixel_values": (pixels - mean) / std, "labels": labels})


def decode(image: dict[str, Any] | bytes | np.ndarray) -> Image.Image:
    """An image in RGB: of a file's bytes, of a row {"bytes", "path"}, or of an array (height, width[, 3]) uint8.

    Raises OSError, ValueError or SyntaxError, as Pillow does, where it is none.
    """
    if isinstance(image, np.ndarray):
        return Image.fromarray(image).convert("RGB")
    content = image
    if isinstance(image, dict):
        content = image["bytes"] or (Path(image["path"]).read_bytes() if image["path"] else None)
    if not content:
        raise ValueError("neither bytes nor a file")
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGB")


class Images(torch.utils.data.Dataset):
    """Rows of pixel_values (3, size, size) uint8 and labels.

    What a transform draws depends on seed, epoch and row: the same for any number of loader processes, in any order,
    and after an interruption.
    """

    def __init__(self, images: Sequence[Any], labels: Sequence[int], transform: v2.Transform, seed: int = 0):
        self.images, self.labels, self.transform, self.seed = images, labels, transform, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called as an epoch begins, before the loader's processes start."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        image = decode(self.images[row])
        with _drawing(self.seed, self.epoch, row):
            return {"pixel_values": self.transform(image), "labels": self.labels[row]}


@contextmanager
def _drawing(*key: int):
    """torch's random numbers on the CPU follow `key` inside; outside they go on as if nothing had been drawn."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
    try:
        yield
    finally:
        torch.set_rng_state(state)

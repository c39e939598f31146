"""Images as a model reads them: decoded, cropped and flipped, batched. Draws depend on seed, epoch and row alone."""

import functools
import io
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2
from transformers import AutoImageProcessor, BaseImageProcessor, BatchFeature, ViTImageProcessor

from experiments.errors import UserError

# The steps of an image processor that shape an image, and those that change its values.
SHAPING = ("do_resize", "do_center_crop", "do_pad")
VALUING = ("do_rescale", "do_normalize", "do_flip_channel_order")
# What a processor raises whose settings are invalid.
INVALID = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError)
NO_IMAGE = (OSError, ValueError, SyntaxError, TypeError, struct.error, Image.DecompressionBombError)  # Pillow's
PROBES = tuple(Image.new("RGB", size, (20, 90, 250)) for size in ((96, 64), (64, 96)))


@dataclass(frozen=True)
class View:
    """How a model reads its images.

    size: height and width in pixels. interpolation: of training's crops. evaluation: from an image in RGB to its pixels
    (3, height, width) uint8. processor: turns these into what the model reads.
    """

    size: tuple[int, int]
    interpolation: v2.InterpolationMode
    evaluation: Callable[[Image.Image], torch.Tensor]
    processor: BaseImageProcessor

    @classmethod
    def of(cls, folder: Path) -> "View":
        """The view that a model's folder describes: timm's data configuration, or the image processor's settings.

        Raises UserError where it has neither, where the settings are invalid or leave images of different sizes, and
        where a processor has steps that are not known here.
        """
        try:
            processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            timm = getattr(processor, "data_config", None)
            view = cls._of_timm(timm) if timm else cls._of_transformers(processor)
            for probe in PROBES:
                ours = view.collate([{"pixel_values": view.evaluation(probe), "labels": 0}])["pixel_values"]
                theirs = processor(probe, return_tensors="pt")["pixel_values"]
                if ours.shape != theirs.shape or ours.shape[-2:] != view.size:
                    raise ValueError(f"images of different sizes stay so: size={processor.size}")
                if not ours.isfinite().all() or not torch.allclose(ours, theirs.float(), atol=1e-4):
                    raise ValueError(f"{type(processor).__name__} gives values that are not finite or not known here")
        except INVALID as error:
            problem = str(error).partition("\n")[0]
            raise UserError(
                f"{folder}: its image processor cannot be used ({problem}); correct preprocessor_config.json, or "
                "config.json for a model in timm's form"
            ) from error
        return view

    @classmethod
    def _of_timm(cls, config: dict[str, Any]) -> "View":
        from timm.data import create_transform

        return cls(
            tuple(config["input_size"][-2:]),
            v2.InterpolationMode(config["interpolation"]),
            create_transform(**config, is_training=False, normalize=False),
            ViTImageProcessor(image_mean=config["mean"], image_std=config["std"]),
        )

    @classmethod
    def _of_transformers(cls, processor: BaseImageProcessor) -> "View":
        """As the processor does it. Where it would only stretch an image to a square, the middle of the image instead,
        as in the official script."""
        interpolation = v2.InterpolationMode[Image.Resampling(processor.resample).name]
        height, width = (processor.size.get(side) for side in ("height", "width"))
        stretches = processor.do_resize and not any(getattr(processor, step, False) for step in SHAPING[1:])
        if stretches and height and height == width:
            middle = [v2.Resize(height, interpolation=interpolation), v2.CenterCrop(height), v2.PILToTensor()]
            return cls((height, width), interpolation, v2.Compose(middle), processor)
        shape = functools.partial(_shaped, processor)
        return cls(tuple(shape(PROBES[0]).shape[-2:]), interpolation, shape, processor)

    def training(self, smallest_crop: float, flip: bool) -> v2.Transform:
        """PIL to uint8: a random crop of at least that share of the area, resized; with `flip`, flipped at random."""
        crop = v2.RandomResizedCrop(self.size, scale=(smallest_crop, 1.0), interpolation=self.interpolation)
        return v2.Compose([crop, *([v2.RandomHorizontalFlip()] if flip else []), v2.PILToTensor()])

    def collate(self, rows: list[dict[str, Any]]) -> BatchFeature:
        """pixel_values (rows, 3, height, width) float32, as the processor scales them; labels (rows) int64."""
        pixels = _processed(self.processor, [row["pixel_values"] for row in rows], SHAPING).float()
        return BatchFeature({"pixel_values": pixels, "labels": torch.tensor([row["labels"] for row in rows])})


def _shaped(processor: BaseImageProcessor, image: Image.Image) -> torch.Tensor:
    """Pixels (3, height, width) uint8: resized and cropped by the processor."""
    return _processed(processor, image, VALUING)[0].byte()


def _processed(processor: BaseImageProcessor, images: Any, without: Iterable[str]) -> torch.Tensor:
    """(images, 3, height, width), by the processor without the steps in `without`."""
    steps = {step: False for step in without if hasattr(processor, step)}
    return processor(images, return_tensors="pt", **steps)["pixel_values"]


def decode(image: dict[str, Any] | bytes | np.ndarray) -> Image.Image:
    """An image in RGB: of a file's bytes, of a row {"bytes", "path"}, or of an array (height, width[, 3]) uint8.

    It is turned as its EXIF orientation says; of an animation it is the first frame. Of 16 bits a channel the upper 8
    count, and transparency does not: Pillow's own rules for colour.
    Raises one of NO_IMAGE, as Pillow does, where it is none, and ValueError for pixels of 32 bits, whose range nothing
    tells.
    """
    if isinstance(image, np.ndarray):
        return Image.fromarray(image).convert("RGB")
    content = image
    if isinstance(image, dict):
        content = image["bytes"] or (Path(image["path"]).read_bytes() if image["path"] else None)
    if not content:
        raise ValueError("neither bytes nor a file")
    with Image.open(io.BytesIO(content)) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        if opened.mode in ("I", "F"):
            raise ValueError("it has 32 bits a pixel, of unknown range; store 8 or 16")
        if opened.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8)).convert("RGB")
        return opened.convert("RGB")


class Images(torch.utils.data.Dataset):
    """Rows of pixel_values (3, height, width) uint8 and labels.

    What a transform draws depends on seed, epoch and row: the same for any number of loader processes, in any order,
    and after an interruption.
    """

    def __init__(self, images: Sequence[Any], labels: Sequence[int], transform: v2.Transform, seed: int = 0):
        self.images, self.labels, self.transform, self.seed = images, labels, transform, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """To be called as an epoch begins, before the loader's processes start."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        image = decode(self.images[row])
        with _drawing(self.seed, self.epoch, row):
            return {"pixel_values": self.transform(image), "labels": self.labels[row]}


@contextmanager
def _drawing(*key: int):
    """Within the context torch's random numbers on the CPU are seeded by `key`; afterwards its state is restored."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
    try:
        yield
    finally:
        torch.set_rng_state(state)

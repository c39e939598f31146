"""Pictures to look at after an image run: training images as the model sees them, and its worst mistakes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import log_softmax

from experiments.data.images import Images, decode
from experiments.style import save

COUNT, COLUMNS = 24, 8  # images in a figure


@dataclass(frozen=True)
class Mistake:
    """A row classified wrongly, with the probabilities of both classes."""

    row: int
    label: int
    predicted: int
    of_label: float
    of_predicted: float


def worst(logits: np.ndarray, labels: np.ndarray, count: int = COUNT) -> list[Mistake]:
    """The wrongly classified rows with the lowest probability of the right class, lowest first.

    logits: (rows, classes) float; labels: (rows,) int.
    """
    logs = log_softmax(logits.astype(np.float64), axis=-1)
    predicted = logs.argmax(-1)
    of_label = logs[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predicted != labels)
    return [
        Mistake(int(i), int(labels[i]), int(predicted[i]), float(np.exp(of_label[i])), float(np.exp(logs[i].max())))
        for i in wrong[np.argsort(of_label[wrong], kind="stable")][:count]
    ]


def rows(mistakes: Iterable[Mistake], images: Images, names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of a table of mistakes, with the original images."""
    header = ["row", "image", "class", "predicted", "p(class)", "p(predicted)"]
    return header, [
        [m.row, decode(images.images[m.row]), names[m.label], names[m.predicted], m.of_label, m.of_predicted]
        for m in mistakes
    ]


def draw(mistakes: Sequence[Mistake], images: Images, names: Sequence[str], path: Path) -> None:
    """Draw the mistakes into one PNG, each with its class, the prediction and its probability."""
    title = f"The {len(mistakes)} worst mistakes on the test set" if mistakes else "No mistake on the test set"
    captions = [f"{names[m.label]},\nseen as {names[m.predicted]} ({m.of_predicted:.2f})" for m in mistakes]
    _grid(title, [decode(images.images[m.row]) for m in mistakes], captions, path)


def draw_inputs(images: Images, names: Sequence[str], path: Path) -> None:
    """Draw images from all of the training set into one PNG, cropped and flipped as the model sees them."""
    chosen = np.linspace(0, len(images) - 1, min(COUNT, len(images)), dtype=int)
    seen = [images[int(row)] for row in chosen]
    pictures = [row["pixel_values"].permute(1, 2, 0).numpy() for row in seen]
    _grid("Training images as the model sees them", pictures, [names[row["labels"]] for row in seen], path)


def _grid(title: str, pictures: Sequence[Any], captions: Sequence[str], path: Path) -> None:
    lines = max(1, -(-len(pictures) // COLUMNS))
    figure = Figure(figsize=(1.45 * COLUMNS, 1.9 * lines + 0.5), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=12)
    for axes in figure.subplots(lines, COLUMNS, squeeze=False).flat:
        axes.axis("off")
    for axes, picture, caption in zip(figure.axes, pictures, captions, strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(caption, fontsize=7.5, pad=3)
    save(figure, path)

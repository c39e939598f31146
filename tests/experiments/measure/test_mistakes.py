"""The worst mistakes: which they are, in which order, and what stands beside each."""

import numpy as np
import pytest
from torchvision.transforms import v2

from experiments.data.images import Images
from experiments.measure import mistakes

LOGITS = np.log(
    [
        [0.7, 0.2, 0.1],  # right
        [0.6, 0.3, 0.1],  # class 1, seen as 0
        [0.9, 0.06, 0.04],  # class 2, seen as 0: the worst
        [0.5, 0.2, 0.3],  # class 1, seen as 0
    ]
)
LABELS = np.array([0, 1, 2, 1])
NAMES = ["cat", "dog", "cow"]


@pytest.fixture
def images():
    pictures = [np.full((8, 8, 3), 60 * i, dtype=np.uint8) for i in range(4)]
    return Images(pictures, LABELS.tolist(), v2.PILToTensor())


def test_the_least_probable_of_the_wrong_ones_comes_first():
    found = mistakes.worst(LOGITS + 5.0, LABELS)  # a constant changes no probability
    assert [(m.row, m.label, m.predicted) for m in found] == [(2, 2, 0), (3, 1, 0), (1, 1, 0)]
    assert [(m.of_label, m.of_predicted) for m in found] == [
        pytest.approx(pair) for pair in ((0.04, 0.9), (0.2, 0.5), (0.3, 0.6))
    ]
    assert [m.row for m in mistakes.worst(LOGITS, LABELS, count=2)] == [2, 3]
    assert mistakes.worst(LOGITS, LOGITS.argmax(-1)) == []


def test_the_table_shows_the_image_with_the_names_of_both_classes(images):
    header, (first, *_) = mistakes.rows(mistakes.worst(LOGITS, LABELS), images, NAMES)
    assert len(header) == len(first) == 6
    assert (first[0], first[2], first[3]) == (2, "cow", "cat") and first[1].getpixel((0, 0)) == (120, 120, 120)


def test_the_pictures_are_drawn_and_the_same_every_time(images, tmp_path):
    found = mistakes.worst(LOGITS, LABELS)
    for name, worst in (("a", found), ("b", found), ("c", found[:1]), ("none", [])):
        mistakes.draw(worst, images, NAMES, tmp_path / f"{name}.png")
    mistakes.draw_inputs(images, NAMES, tmp_path / "inputs.png")
    content = {path.stem: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert content["a"] == content["b"] and len(set(content.values())) == 4

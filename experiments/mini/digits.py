"""The handwritten digits in scikit-learn: 1,797 real images of 8x8 pixels, ten classes.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0), written by 13 people: 32x32 bitmaps, of which each pixel
here counts a block of 4x4.
"""

import numpy as np

CLASSES = tuple("0123456789")
SMALLEST_CROP = 0.6  # of an image's area: smaller crops would lose the digit
FLIP = False  # a mirrored digit is no digit
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def generate(split: str) -> tuple[list[np.ndarray], list[int]]:
    """The images (8, 8) uint8 of a split, light on dark, and their labels, indices into CLASSES.

    The splits are fixed and stratified. Raises ValueError for an unknown split.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if split not in SHARES:
        raise ValueError(f"no split {split!r} of the digits; there are: {', '.join(SHARES)}")
    digits = load_digits()
    rows = dict.fromkeys(SHARES)
    rows["train"], others = train_test_split(
        np.arange(len(digits.target)), train_size=SHARES["train"], stratify=digits.target, random_state=0
    )
    share = SHARES["validation"] / (SHARES["validation"] + SHARES["test"])
    rows["validation"], rows["test"] = train_test_split(
        others, train_size=share, stratify=digits.target[others], random_state=0
    )
    pixels = np.rint(digits.images * (255 / digits.images.max())).astype(np.uint8)
    return list(pixels[rows[split]]), digits.target[rows[split]].tolist()

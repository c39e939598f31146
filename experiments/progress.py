"""How far a long task is: a bar on a terminal; elsewhere, as in a file, a line every few seconds."""

import sys
import time
from typing import Any

from tqdm import tqdm

EVERY = 10.0  # seconds between two lines


class Lines:
    """What a task says of itself where there is no terminal, on stderr; used as tqdm is."""

    def __init__(self, total: int, desc: str):
        self.total, self.desc, self.n, self.told = total, desc, 0, time.monotonic()

    def update(self, n: int = 1) -> None:
        """`n` more are done."""
        self.n += n
        if (now := time.monotonic()) - self.told >= EVERY:
            self.told = now
            print(f"{self.desc}: {self.n} of {self.total}", file=sys.stderr, flush=True)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write(self, text: str) -> None:
        """A line of its own, on stdout."""
        print(text, flush=True)

    def close(self) -> None:
        """The end: nothing is left to say."""


def is_shown() -> bool:
    """Whether bars are: on a terminal alone."""
    return sys.stderr.isatty()


def counter(total: int, desc: str, hidden: bool = False, **options: Any) -> tqdm | Lines:
    """A context for a task of `total` parts, whose `update` is called for each that is done. options: of the bar."""
    bar = hidden or is_shown()
    return tqdm(total=total, desc=desc, disable=hidden, **options) if bar else Lines(total, desc)


def hide_bars() -> None:
    """Off a terminal, no bars of the libraries that load, tokenise and download."""
    if not is_shown():
        from datasets import disable_progress_bars
        from huggingface_hub.utils import disable_progress_bars as disable_downloads
        from transformers.utils import logging

        disable_progress_bars()
        disable_downloads()
        logging.disable_progress_bar()

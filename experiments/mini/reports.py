"""The pre-training text of the miniature RoBERTa, and part of the others': consistent sentences.

A sentence is restated, a question answered, a report keeps to its place and time, a review to its verdict. There are no
labels of tasks, and no contradictions.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from random import Random

from experiments.mini import glue
from experiments.mini.language import STYLES, draw_event, say_event, say_opinion, write


def documents(seed: int) -> Iterator[tuple[str, ...]]:
    """Endless documents: each a text, or a pair of texts."""
    rng = Random(f"pretraining {seed}")
    restatement, detail = partial(glue.mrpc, equivalent=1), partial(glue.rte, not_entailed=0)
    answer = partial(glue.qnli, not_entailed=0)
    kinds = (report, review, restatement, restatement, detail, detail, answer)
    while True:
        yield rng.choice(kinds)(rng)


def report(rng: Random) -> tuple[str]:
    """One or two sentences about what did or did not happen."""
    events = [
        replace(draw_event(rng, rng.random() < 0.5), negated=rng.random() < 0.25) for _ in range(rng.choice((1, 2)))
    ]
    return (" ".join(write(say_event(event, rng)) for event in events),)


def review(rng: Random) -> tuple[str]:
    """Two or three sentences with the same verdict."""
    positive = rng.random() < 0.5
    styles = [rng.choice(STYLES) for _ in range(rng.choice((2, 3)))]
    return (" ".join(write(say_opinion(positive, style, rng)) for style in styles),)

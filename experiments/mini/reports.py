"""The pre-training text of the miniature RoBERTa, and part of the others': consistent sentences.

A sentence is restated, a question answered, a report keeps to its place and time, a review to its verdict. There are no
labels of tasks, and no contradictions.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from experiments.mini import glue
from experiments.mini.language import Opinion, draw_event, say_event, say_opinion, write


def documents(seed: int) -> Iterator[tuple[str, ...]]:
    """Endless documents: each a text, or a pair of texts."""
    rng = Random(f"pretraining {seed}")
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
    opinions = [Opinion(positive, rng.choice(Opinion.STYLES)) for _ in range(rng.choice((2, 3)))]
    return (" ".join(write(say_opinion(opinion, rng)) for opinion in opinions),)


def restatement(rng: Random) -> tuple[str, str]:
    return glue.mrpc(rng, equivalent=1)


def detail(rng: Random) -> tuple[str, str]:
    return glue.rte(rng, not_entailed=0)


def answer(rng: Random) -> tuple[str, str]:
    return glue.qnli(rng, not_entailed=0)

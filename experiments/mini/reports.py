"""The text the miniature models are pre-trained on: sentences that stand together because they agree.

As in any honest text, a sentence is restated, a question is answered, a report keeps to where and when it was, and a
review keeps its verdict. No label of a task is ever shown, nor a pair that contradicts itself.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from experiments.mini import glue
from experiments.mini.language import Opinion, draw_event, say_event, say_opinion, write


def documents(seed: int) -> Iterator[tuple[str, ...]]:
    """Endless documents: one text each, or two to be read as a pair."""
    rng = Random(f"pretraining {seed}")
    kinds = (report, review, restatement, restatement, detail, detail, answer)
    while True:
        yield rng.choice(kinds)(rng)


def report(rng: Random) -> tuple[str]:
    """One or two sentences about what happened, or what did not."""
    events = [
        replace(draw_event(rng, rng.random() < 0.5), negated=rng.random() < 0.25) for _ in range(rng.choice((1, 2)))
    ]
    return (" ".join(write(say_event(event, rng)) for event in events),)


def review(rng: Random) -> tuple[str]:
    """Two or three sentences of one verdict."""
    positive = rng.random() < 0.5
    opinions = [Opinion(positive, rng.choice(Opinion.STYLES)) for _ in range(rng.choice((2, 3)))]
    return (" ".join(write(say_opinion(opinion, rng)) for opinion in opinions),)


def restatement(rng: Random) -> tuple[str, str]:
    return glue.mrpc(rng, equivalent=1)


def detail(rng: Random) -> tuple[str, str]:
    return glue.rte(rng, not_entailed=0)


def answer(rng: Random) -> tuple[str, str]:
    return glue.qnli(rng, not_entailed=0)

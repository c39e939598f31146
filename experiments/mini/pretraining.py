"""The text the miniature models are pre-trained on: reports, reviews, and remarks that answer to one another.

A review keeps its verdict, a remark is restated, a question is answered, and a connective says how the second remark
relates to the first. Connectives are what text itself offers for learning such relations (DisSent, Nie et al. 2019).
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from experiments.mini import glue
from experiments.mini.language import Opinion, draw_event, say_event, say_opinion, write


def documents(seed: int) -> Iterator[tuple[str, ...]]:
    """Endless documents: one text each, or two to be read as a pair."""
    rng = Random(f"pretraining {seed}")
    kinds = (report, review, restatement, answer, *[remark] * 4)
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
    return rng.choice((glue.mrpc(rng, equivalent=1), glue.rte(rng, not_entailed=0)))


def answer(rng: Random) -> tuple[str, str]:
    return glue.qnli(rng, not_entailed=0)


def remark(rng: Random) -> tuple[str, str]:
    """A remark or a question, and what "indeed" bears it out, or "besides" is another matter."""
    related = rng.random() < 0.5
    make, label = rng.choice(((glue.mrpc, related), (glue.rte, not related), (glue.qnli, not related)))
    first, second = make(rng, int(label))
    return first, f"{'Indeed' if related else 'Besides'}, {second[0].lower()}{second[1:]}"

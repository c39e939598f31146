"""Eight GLUE tasks in the miniature world, with GLUE's columns and labels.

The sentences of a negative pair are as good as those of a positive one: only both together show the label. Synonyms,
voice and order are drawn for each sentence, so that counting common words helps but is not enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from experiments.mini.language import (
    NUMBERS,
    SLOTS,
    Event,
    ask,
    draw_event,
    past_tense,
    say_event,
    say_opinion,
    write,
)

if TYPE_CHECKING:
    from datasets import Dataset, Features

ROWS = {"train": 3000, "validation": 500, "test": 500}
ADVERBIALS = ("place", "time")


def shorten(event: Event, rng: Random) -> Event:
    """The event without its place or its time."""
    return replace(event, **{rng.choice(ADVERBIALS): None})


def another(event: Event, rng: Random) -> Event:
    """An event of the same kind and tense without anything else in common."""
    return replace(draw_event(rng, event.social, apart_from=event), past=event.past)


def cola(rng: Random, acceptable: int) -> tuple[str]:
    """A correct sentence, or one with wrong agreement, order or verb form, or with an object that acts on a person."""
    fault = rng.choice(("agreement", "order", "form", "selection"))  # for every label: it must not show it
    event = replace(draw_event(rng, social=fault != "selection" and rng.random() < 0.5), negated=rng.random() < 0.4)
    passive = rng.random() < 0.5
    if fault == "agreement":
        passive = passive or event.past  # in the past only the passive shows number
    elif fault == "form":
        passive = passive or not event.negated  # needs an auxiliary, without which no form is wrong
    elif fault == "selection" and not acceptable:
        event = replace(event, agent=event.patient, patient=event.agent)
    words = say_event(event, rng, passive, agrees=bool(acceptable) or fault != "agreement")
    if fault == "form" and not acceptable:
        forms = {verb: past_tense(verb) for verb in event.verb}
        forms |= {past: verb for verb, past in forms.items()}
        words = [forms.get(word, word) for word in words]
    elif fault == "order" and not acceptable:
        leading = {"the", "in", "at", "on", "by", "not", "near", "was", "were", "is", "are", *NUMBERS}
        at = rng.choice([i for i, word in enumerate(words) if word in leading] or [0])  # must precede another word
        words[at], words[at + 1] = words[at + 1], words[at]
    return (write(words),)


def sst2(rng: Random, positive: int) -> tuple[str]:
    """Praise or blame, often by negation, in one clause or two."""
    return (write(say_opinion(bool(positive), rng.choice(("plain", "and")), rng)),)


def mrpc(rng: Random, equivalent: int) -> tuple[str, str]:
    """Two tellings of an event, in different words; if not equivalent, at different places or times."""
    event = shorten(draw_event(rng, social=rng.random() < 0.5), rng)
    told = event
    if not equivalent:
        slot = "place" if event.place else "time"
        told = replace(event, **{slot: getattr(another(event, rng), slot)})
    return write(say_event(event, rng)), write(say_event(told, rng))


def rte(rng: Random, not_entailed: int) -> tuple[str, str]:
    """A report, and a claim about its place or time."""
    event = draw_event(rng, social=rng.random() < 0.5)
    claimed = getattr(another(event, rng) if not_entailed else event, rng.choice(ADVERBIALS))
    return write(say_event(event, rng)), write(["it", "was", *rng.choice(claimed).split()])


def mnli(rng: Random, label: int) -> tuple[str, str]:
    """A report, and a claim about its place or time: true, not in the report, or another than there."""
    event = draw_event(rng, social=rng.random() < 0.5)
    asked = rng.choice(ADVERBIALS)
    claimed = getattr(another(event, rng) if label == 2 else event, asked)
    told = replace(event, **{asked: None}) if label == 1 else event
    return write(say_event(told, rng)), write(["it", "was", *rng.choice(claimed).split()])


def qnli(rng: Random, not_entailed: int) -> tuple[str, str]:
    """A question of where or when, and a sentence that answers it, omits it, or is about somebody else."""
    event = draw_event(rng, social=rng.random() < 0.7)
    asked, other = rng.sample(ADVERBIALS, 2)
    answer = event
    if not_entailed and rng.random() < 0.6:
        answer = replace(event, **{asked: None})
    elif not_entailed:
        answer = replace(event, agent=another(event, rng).agent)
    elif rng.random() < 0.5:
        answer = replace(event, **{other: None})
    return ask(replace(event, **{other: None}), asked, rng), write(say_event(answer, rng))


def qqp(rng: Random, duplicate: int) -> tuple[str, str]:
    """Two wordings of a question; if no duplicate, about different people."""
    event = draw_event(rng, social=rng.random() < 0.5)
    asked, other = rng.sample(ADVERBIALS, 2)
    again = event if duplicate else replace(event, agent=another(event, rng).agent)
    return tuple(ask(replace(told, **{other: None}), asked, rng) for told in (event, again))


def stsb(rng: Random, shared: int) -> tuple[str, str]:
    """Two events that share `shared` of their five parts: agent, verb, patient, place and time."""
    first = draw_event(rng, social=False)
    second = replace(another(first, rng), **{slot: getattr(first, slot) for slot in rng.sample(SLOTS, shared)})
    plain = (
        replace(event, **{slot: replace(getattr(event, slot), adjective=None) for slot in ("agent", "patient")})
        for event in (first, second)
    )
    return tuple(write(say_event(event, rng, passive=False)) for event in plain)


@dataclass(frozen=True)
class MiniTask:
    """The function that makes a row of a given label, the names of its columns, and GLUE's names of the labels."""

    make: Callable[[Random, int], tuple[str, ...]]
    columns: tuple[str, ...]
    labels: tuple[str, ...] | None  # None: a grade from 0 to 5

    @property
    def features(self) -> Features:
        from datasets import ClassLabel, Features, Value

        label = ClassLabel(names=list(self.labels)) if self.labels else Value("float32")
        return Features({**{name: Value("string") for name in self.columns}, "label": label, "idx": Value("int32")})


PAIR = ("sentence1", "sentence2")
TASKS = {
    "cola": MiniTask(cola, ("sentence",), ("unacceptable", "acceptable")),
    "mrpc": MiniTask(mrpc, PAIR, ("not_equivalent", "equivalent")),
    "mnli": MiniTask(mnli, ("premise", "hypothesis"), ("entailment", "neutral", "contradiction")),
    "qnli": MiniTask(qnli, ("question", "sentence"), ("entailment", "not_entailment")),
    "qqp": MiniTask(qqp, ("question1", "question2"), ("not_duplicate", "duplicate")),
    "rte": MiniTask(rte, PAIR, ("entailment", "not_entailment")),
    "sst2": MiniTask(sst2, ("sentence",), ("negative", "positive")),
    "stsb": MiniTask(stsb, PAIR, None),
}


@cache
def generate(task: str, split: str, seed: int = 0) -> Dataset:
    """A split of a GLUE task in the miniature world: train, 3,000 rows, validation or test, 500 rows each.

    Columns, types and labels are GLUE's; the labels are balanced; no row occurs twice, within or across splits. Raises
    ValueError for an unknown task or split.
    """
    from datasets import Dataset

    if task not in TASKS:
        raise ValueError(f"task={task!r}: the miniature world has {', '.join(TASKS)}")
    if split not in ROWS:
        raise ValueError(f"split={split!r}: the miniature world has {', '.join(ROWS)}")
    spec = TASKS[task]
    rng = Random(f"{task} {seed}")
    grades = len(spec.labels) if spec.labels else 6
    seen: set[frozenset[str]] = set()
    for name, size in ROWS.items():  # from the first on, since a later split must avoid the earlier ones
        rows = []
        while len(rows) < size:
            label = len(rows) % grades
            texts = spec.make(rng, label)
            key = frozenset(texts)
            if key not in seen and len(key) == len(texts):
                seen.add(key)
                rows.append({**dict(zip(spec.columns, texts, strict=True)), "label": label})
        rng.shuffle(rows)
        if name == split:
            break
    return Dataset.from_list([{**row, "idx": idx} for idx, row in enumerate(rows)], features=spec.features)

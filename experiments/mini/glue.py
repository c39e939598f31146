"""The six GLUE tasks of the paper in the miniature world, with the columns and the labels GLUE has on the hub.

A wrong partner is made of the words of the right one: people, adjectives, verbs or places change hands. So the words
alone say little about a label; who did what to whom decides.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from datasets import ClassLabel, Dataset, Features, Value

from experiments.mini.language import (
    NUMBERS,
    SLOTS,
    Event,
    Opinion,
    ask,
    draw_event,
    past_tense,
    say_event,
    say_opinion,
    write,
)

ROWS = {"train": 2000, "validation": 500}


def draw_events(rng: Random) -> list[Event]:
    """One event between people, or two of one kind and tense that have nothing in common."""
    if rng.random() < 0.6:
        return [draw_event(rng, social=True)]
    first = draw_event(rng, social=rng.random() < 0.5)
    return [first, replace(draw_event(rng, first.social, apart_from=first), past=first.past)]


def shorten(event: Event, rng: Random) -> Event:
    """What stays true when details are left out; of a denied event none can be."""
    if event.negated:
        return event
    return replace(event, **{slot: None for slot in ("place", "time") if rng.random() < 0.5})


def exchange(events: list[Event], rng: Random) -> list[Event]:
    """Another meaning in the same words: two people or their adjectives, or parts of two events, trade places."""
    first, *others = events
    agent, patient = first.agent, first.patient
    variants = []
    if first.social:
        variants.append([replace(first, agent=patient, patient=agent), *others])
    if first.social and agent.adjective and patient.adjective:
        crossed = {
            "agent": replace(agent, adjective=patient.adjective),
            "patient": replace(patient, adjective=agent.adjective),
        }
        variants.append([replace(first, **crossed), *others])
    for second in others:
        for slot in (*SLOTS, "negated"):
            ours, theirs = getattr(first, slot), getattr(second, slot)
            if ours != theirs and None not in (ours, theirs):
                variants.append([replace(first, **{slot: theirs}), replace(second, **{slot: ours})])
    return rng.choice(variants)


def mistake(events: list[Event], rng: Random) -> list[Event]:
    """What the first event is not: mostly another meaning in the same words, else with one part replaced."""
    if rng.random() < 0.7:
        return exchange(events, rng)
    other = draw_event(rng, events[0].social, apart_from=events[0])
    slot = rng.choice([slot for slot in SLOTS if getattr(events[0], slot)])
    return [replace(events[0], **{slot: getattr(other, slot)}), *events[1:]]


def cola(rng: Random, acceptable: int) -> tuple[str]:
    """A sentence, or one with wrong agreement, word order or verb form, or in which an object acts on a person."""
    fault = rng.choice(("agreement", "order", "form", "selection"))  # drawn for every row: its setting must not tell
    event = replace(draw_event(rng, social=fault != "selection" and rng.random() < 0.5), negated=rng.random() < 0.4)
    passive = rng.random() < 0.5
    if fault == "agreement":
        passive = passive or event.past  # the only past that shows number
    elif fault == "form":
        passive = passive or not event.negated  # a verb without an auxiliary has no wrong form
    elif fault == "selection" and not acceptable:
        event = replace(event, agent=event.patient, patient=event.agent)
    words = say_event(event, rng, passive, agrees=bool(acceptable) or fault != "agreement")
    if fault == "form" and not acceptable:
        forms = {verb: past_tense(verb) for verb in event.verb}
        forms |= {past: verb for verb, past in forms.items()}
        words = [forms.get(word, word) for word in words]
    elif fault == "order" and not acceptable:
        leading = {"the", "in", "at", "on", "by", "not", "near", "was", "were", "is", "are", *NUMBERS}
        at = rng.choice([i for i, word in enumerate(words) if word in leading] or [0])  # these must precede their word
        words[at], words[at + 1] = words[at + 1], words[at]
    return (write(words),)


def sst2(rng: Random, positive: int) -> tuple[str]:
    """Praise or blame, often by denial or in a contrast."""
    return (write(say_opinion(Opinion(bool(positive), rng.choice(Opinion.STYLES)), rng)),)


def mrpc(rng: Random, equivalent: int) -> tuple[str, str]:
    """A paraphrase, or the same words in other roles."""

    def say(events: list[Event]) -> str:
        clauses = [say_event(event, rng) for event in events]
        return write(sum(([",", "and", *clause] for clause in clauses[1:]), clauses[0]))

    events = [shorten(event, rng) for event in draw_events(rng)]
    return say(events), say(events if equivalent else mistake(events, rng))


def rte(rng: Random, not_entailed: int) -> tuple[str, str]:
    """A premise of one or two sentences, and a hypothesis, mostly in its words, that follows or does not."""
    events = [replace(shorten(event, rng), negated=rng.random() < 0.2) for event in draw_events(rng)]
    premise = " ".join(write(say_event(event, rng)) for event in events)
    claims = [shorten(event, rng) for event in events]
    if not_entailed:
        claims = [new for new, old in zip(mistake(claims, rng), claims, strict=True) if new != old]
    return premise, write(say_event(rng.choice(claims), rng))


def qnli(rng: Random, not_entailed: int) -> tuple[str, str]:
    """A question, and a sentence that answers it, or lacks the answer, or tells of another event."""
    event = draw_event(rng, social=rng.random() < 0.7)
    asked = rng.choice(("agent", "patient", "place", "time"))
    mentioned = replace(shorten(event, rng), **{asked: getattr(event, asked)})
    question = ask(mentioned, asked, rng)
    answer = replace(mentioned, place=mentioned.place or shorten(event, rng).place)
    if not_entailed:
        other = replace(draw_event(rng, event.social, apart_from=event), past=event.past)
        wrong = [
            replace(answer, **{slot: getattr(other, slot)}) for slot in ("agent", "verb", "patient") if slot != asked
        ]
        if event.social:
            wrong += [replace(answer, agent=answer.patient, patient=answer.agent)] * 2
        if asked in ("place", "time"):
            wrong += [replace(answer, **{asked: None})] * 2
        answer = rng.choice(wrong)
    return question, write(say_event(answer, rng))


def stsb(rng: Random, shared: int) -> tuple[str, str]:
    """Two events that share `shared` of their five parts: agent, verb, patient, place and time."""
    first = draw_event(rng, social=rng.random() < 0.5)
    second = replace(draw_event(rng, first.social, apart_from=first), past=first.past)
    second = replace(second, **{slot: getattr(first, slot) for slot in rng.sample(SLOTS, shared)})
    return write(say_event(first, rng)), write(say_event(second, rng))


@dataclass(frozen=True)
class Task:
    """How to make a row of a given label, the names of its text columns, and GLUE's names of the labels."""

    make: Callable[[Random, int], tuple[str, ...]]
    columns: tuple[str, ...]
    labels: tuple[str, ...] | None  # None: a grade from 0 to 5

    @property
    def features(self) -> Features:
        label = ClassLabel(names=list(self.labels)) if self.labels else Value("float32")
        return Features({**{name: Value("string") for name in self.columns}, "label": label, "idx": Value("int32")})


PAIR = ("sentence1", "sentence2")
TASKS = {
    "cola": Task(cola, ("sentence",), ("unacceptable", "acceptable")),
    "mrpc": Task(mrpc, PAIR, ("not_equivalent", "equivalent")),
    "qnli": Task(qnli, ("question", "sentence"), ("entailment", "not_entailment")),
    "rte": Task(rte, PAIR, ("entailment", "not_entailment")),
    "sst2": Task(sst2, ("sentence",), ("negative", "positive")),
    "stsb": Task(stsb, PAIR, None),
}


def generate(task: str, split: str, seed: int = 0) -> Dataset:
    """The `split` ("train", 2,000 rows, or "validation", 500 rows) of a GLUE `task` in the miniature world.

    Columns, types and labels are GLUE's; the labels are balanced; no row stands twice, in a split or in both.
    Raises ValueError for an unknown task or split.
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r}: the miniature world has {', '.join(TASKS)}")
    if split not in ROWS:
        raise ValueError(f"split={split!r}: the miniature world has {', '.join(ROWS)}")
    spec = TASKS[task]
    rng = Random(f"{task} {seed}")
    grades = len(spec.labels) if spec.labels else 6
    seen: set[frozenset[str]] = set()
    for name, size in ROWS.items():  # both splits, always: the second must avoid the first
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

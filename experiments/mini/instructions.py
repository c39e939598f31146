"""Alpaca in the miniature world: instructions with or without an input, each with exactly one right answer.

The subject of an instruction, a list of words or a sentence, is its input, or part of the instruction. The answer
follows by a rule, or from the meanings of words in mini/language.py; so accuracy is the share of exact answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from experiments.mini.language import OBJECTS, ROLES, Concept, Event, draw_event, say_event, say_noun, write

if TYPE_CHECKING:
    from datasets import Dataset

ROWS = {"train": 4000, "validation": 200, "test": 200}
PEOPLE, THINGS = (tuple(word for concept in concepts for word in concept) for concepts in (ROLES, OBJECTS))
WORDS = (*PEOPLE, *THINGS)
SYNONYMS = {
    word: other for concept in (*ROLES, *OBJECTS) if len(concept) == 2 for word, other in (concept, concept[::-1])
}
COUNTS = ("no", "one", "two", "three", "four", "five", "six")
PLACES = {0: "first", 1: "second", 2: "third", -2: "last but one", -1: "last"}  # of a word in a list


@dataclass(frozen=True)
class Request:
    """A request about a `subject`, in several wordings, and its answer."""

    wordings: tuple[str, ...]
    subject: str
    answer: str


def draw_list(rng: Random, shortest: int, longest: int) -> list[str]:
    """Different words for people and things."""
    return rng.sample(WORDS, rng.randint(shortest, longest))


def draw_odd(rng: Random) -> tuple[list[str], str]:
    """One person among things, or one thing among people: the words, and the odd one."""
    few, many = rng.choice(((PEOPLE, THINGS), (THINGS, PEOPLE)))
    odd_one = rng.choice(few)
    words = [odd_one, *rng.sample(many, rng.randint(2, 4))]
    rng.shuffle(words)
    return words, odd_one


def question(rng: Random) -> Request:
    """Who did it to whom, where or when: a phrase of the sentence."""
    wordings = {
        "agent": ("Who did it?", "Say who did this.", "Find the one who acted.", "Whose deed was it?"),
        "patient": ("To whom or what was it done?", "Say who or what it was done to.", "Find what was acted on."),
        "place": ("Where was it?", "Say where it happened.", "Find the place.", "At which place was this?"),
        "time": ("When was it?", "Say when it happened.", "Find the time.", "At which time was this?"),
    }
    event = settled(draw_event(rng, social=rng.random() < 0.5), rng)
    slot = rng.choice(tuple(wordings))
    part = getattr(event, slot)
    answer = part[0] if slot in ("place", "time") else " ".join(say_noun(part, rng))
    return Request(wordings[slot], write(say_event(event, rng)), answer)


def settled(event: Event, rng: Random) -> Event:
    """The event with only one synonym for everything, so that all tellings have the same phrases."""

    def one(concept: Concept | None) -> Concept | None:
        return concept and (rng.choice(concept),)

    nouns = {
        slot: replace(noun, concept=one(noun.concept), adjective=one(noun.adjective))
        for slot, noun in (("agent", event.agent), ("patient", event.patient))
    }
    return replace(event, **nouns, place=one(event.place), time=one(event.time))


def position(rng: Random) -> Request:
    """The first word of a list, the last, and so on."""
    words = draw_list(rng, 3, 6)
    place, name = rng.choice(tuple(PLACES.items()))
    wordings = ("Which is the {}?", "Name the {} word.", "Give me the {} of these.", "Say which one comes {}.")
    return Request(tuple(wording.format(name) for wording in wordings), " ".join(words), words[place])


def backwards(rng: Random) -> Request:
    """A list in reverse."""
    words = draw_list(rng, 2, 4)
    wordings = ("Reverse the list.", "Write it backwards.", "Turn the order around.", "Begin at the end of the list.")
    return Request(wordings, " ".join(words), " ".join(words[::-1]))


def alphabetical(rng: Random) -> Request:
    """A list in alphabetical order."""
    words = draw_list(rng, 2, 3)
    wordings = ("Sort the list.", "Put the words in order.", "Order them by the alphabet.", "Arrange it as A to Z.")
    return Request(wordings, " ".join(words), " ".join(sorted(words)))


def count(rng: Random) -> Request:
    """The number of words."""
    words = draw_list(rng, 2, 6)
    wordings = ("How many are there?", "Count the words.", "Give the number of words.", "How long is the list?")
    return Request(wordings, " ".join(words), COUNTS[len(words)])


def membership(rng: Random) -> Request:
    """Whether a word is in a list."""
    wanted, *words = draw_list(rng, 4, 6)
    if found := rng.random() < 0.5:
        wanted = rng.choice(words)
    wordings = ("Is {} in the list?", "Is {} one of these?", "Do you see {} here?", "Tell me if {} is there.")
    return Request(tuple(wording.format(wanted) for wording in wordings), " ".join(words), "yes" if found else "no")


def odd(rng: Random) -> Request:
    """The one person among things, or the one thing among people."""
    words, answer = draw_odd(rng)
    wordings = ("Find the odd one out.", "Which is unlike the others?", "Which does not belong?", "Pick the misfit.")
    return Request(wordings, " ".join(words), answer)


def synonyms(rng: Random) -> Request:
    """Synonyms; every word has one at most."""
    words = rng.sample(tuple(SYNONYMS), rng.randint(2, 3))
    wordings = ("Say it in other words.", "Give a synonym of each.", "Replace every word.", "What else means the same?")
    return Request(wordings, " ".join(words), " ".join(SYNONYMS[word] for word in words))


KINDS = (question, position, backwards, alphabetical, count, membership, odd, synonyms)


@cache
def generate(split: str, seed: int = 0) -> Dataset:
    """A split of Alpaca in the miniature world: train (4,000 rows), validation or test (200 each).

    Columns `instruction`, `input` (empty in half of the rows) and `output`, one to four words; all KINDS in equal
    shares. No kind of request has the same subject twice, within or across splits. Raises ValueError for an unknown
    split.
    """
    from datasets import Dataset

    if split not in ROWS:
        raise ValueError(f"split={split!r}: the miniature world has {', '.join(ROWS)}")
    rng = Random(f"instructions {seed}")
    seen = set()
    for name, size in ROWS.items():  # including the splits before, which it must avoid
        rows = []
        while len(rows) < size:
            kind = KINDS[len(rows) % len(KINDS)]
            request = kind(rng)
            if (kind, request.subject) in seen:
                continue
            seen.add((kind, request.subject))
            instruction, text = rng.choice(request.wordings), request.subject
            if rng.random() < 0.5:
                instruction, text = f"{instruction[:-1]}: {text}", ""
            rows.append({"instruction": instruction, "input": text, "output": request.answer})
        rng.shuffle(rows)
        if name == split:
            return Dataset.from_list(rows)

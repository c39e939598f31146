"""E2E NLG in the miniature world: invented places to eat, and descriptions of them.

A meaning is written as in E2E, with its attributes in E2E's order: `name[Amber Lantern], eatType[tavern], area[old
town]`. A reference consists of wordings of the values: before the noun, after it, and as predicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from experiments.mini.language import write

if TYPE_CHECKING:
    from datasets import Dataset

Meaning = dict[str, str]  # attribute -> value, in the order of ATTRIBUTES

FIRST = ("Amber", "Cobalt", "Ebony", "Foggy", "Gilded", "Humble", "Ivory", "Jolly", "Lonely", "Mossy", "Quiet")
LAST = ("Anchor", "Badger", "Compass", "Falcon", "Hammer", "Kettle", "Lantern", "Meadow", "Otter", "Pebble", "Willow")
NAMES = tuple(f"{first} {last}" for first in FIRST for last in LAST)
VALUES = {  # by attribute, in E2E's order
    "name": NAMES,
    "eatType": ("tavern", "bakery", "tea room", "canteen", "grill"),
    "food": ("Norvian", "Talish", "Ostrian", "Kelmic", "Velan", "vegetarian"),
    "priceRange": ("cheap", "moderate", "expensive", "under 10 crowns", "10 to 20 crowns", "over 20 crowns"),
    "customer rating": ("poor", "average", "excellent", "1 of 5", "3 of 5", "5 of 5"),
    "area": ("old town", "harbor quarter", "upper town", "garden quarter"),
    "familyFriendly": ("yes", "no"),
    "near": NAMES,
}
ATTRIBUTES = tuple(VALUES)
MEANINGS = {"train": 600, "validation": 40, "test": 40}


@dataclass(frozen=True)
class Wording:
    """Wordings of a value, separated by "/": before the noun, after it, as a predicate. "{}" is the value."""

    before: str
    after: str
    predicate: str


WORDINGS = {  # by value, or by attribute for values without their own
    "food": Wording("{}", "serving {} food/with {} dishes", "serves {} food/offers {} dishes/cooks {} meals"),
    "cheap": Wording("cheap/inexpensive", "with low prices/at a low price", "is cheap/is inexpensive/has low prices"),
    "moderate": Wording(
        "moderately priced", "with moderate prices/at a moderate price", "has moderate prices/is moderately priced"
    ),
    "expensive": Wording(
        "costly/expensive", "with high prices/at a high price", "is expensive/is costly/has high prices"
    ),
    "priceRange": Wording("", "where a meal costs {}/with meals for {}", "charges {}/has meals for {}/costs {} a meal"),
    "poor": Wording(
        "poorly rated/badly rated", "with poor ratings/with bad reviews", "has poor ratings/gets bad reviews"
    ),
    "average": Wording("", "with average ratings/with average reviews", "is rated average/gets average reviews"),
    "excellent": Wording(
        "highly rated/well rated", "with excellent ratings/with great reviews", "is highly rated/gets great reviews"
    ),
    "customer rating": Wording(
        "", "with a rating of {}/rated {} by its customers", "is rated {}/has a customer rating of {}"
    ),
    "area": Wording("", "in the {}", "is in the {}/lies in the {}/can be found in the {}"),
    "yes": Wording(
        "family friendly/child friendly",
        "for the whole family/where children are welcome",
        "is family friendly/welcomes families/welcomes children",
    ),
    "no": Wording(
        "", "for adults only/where children are not welcome", "is not family friendly/does not welcome children"
    ),
    "near": Wording("", "near {}/close to {}/next to {}", "is near {}/is close to {}/stands next to {}"),
}


def draw_meaning(rng: Random) -> Meaning:
    """A random place: its name, and two to seven other attributes; never near itself."""
    others = rng.sample(ATTRIBUTES[1:], rng.choices(range(2, 8), weights=(1, 3, 6, 6, 4, 2))[0])
    chosen = {attribute: rng.choice(VALUES[attribute]) for attribute in ATTRIBUTES}
    while chosen["near"] == chosen["name"]:
        chosen["near"] = rng.choice(NAMES)
    return {attribute: chosen[attribute] for attribute in ATTRIBUTES if attribute == "name" or attribute in others}


def write_meaning(meaning: Meaning) -> str:
    """`{"name": "Amber Lantern", "area": "old town"}` -> `name[Amber Lantern], area[old town]`."""
    return ", ".join(f"{attribute}[{value}]" for attribute, value in meaning.items())


def wording(meaning: Meaning, attribute: str) -> Wording:
    return WORDINGS.get(meaning[attribute]) or WORDINGS[attribute]


def tell(meaning: Meaning, attribute: str, position: str, rng: Random) -> str:
    """A wording of the value at a position: before, after or predicate."""
    return rng.choice(getattr(wording(meaning, attribute), position).split("/")).format(meaning[attribute])


def noun_phrase(meaning: Meaning, rng: Random) -> tuple[str, list[str]]:
    """The place as a noun phrase, and the attributes that it leaves out, in random order."""
    left = [attribute for attribute in meaning if attribute not in ("name", "eatType")]
    rng.shuffle(left)
    before = [attribute for attribute in left if wording(meaning, attribute).before][: rng.randint(0, 2)]
    before.sort(key="food".__eq__)  # food comes next to the noun
    left = [attribute for attribute in left if attribute not in before]
    size = rng.randint(0, 2)
    after, left = left[:size], left[size:]
    words = [
        *(tell(meaning, attribute, "before", rng) for attribute in before),
        meaning.get("eatType") or rng.choice(("place", "spot", "venue")),
        *(tell(meaning, attribute, "after", rng) for attribute in after),
    ]
    return " ".join(["an" if words[0][0].lower() in "aeiou" else "a", *words]), left


def predicates(meaning: Meaning, attributes: list[str], rng: Random) -> str:
    """`serves Talish food, is cheap and lies in the old town`, for one attribute or more."""
    *first, last = (tell(meaning, attribute, "predicate", rng) for attribute in attributes)
    return f"{', '.join(first)} and {last}" if first else last


def describe(meaning: Meaning, rng: Random) -> str:
    """A reference of one or two sentences. As in E2E, some omit an attribute: one in five."""
    name = meaning["name"]
    if len(meaning) > 3 and rng.random() < 0.2:
        meaning = without(meaning, rng.choice([attribute for attribute in meaning if attribute != "name"]))
    where = [attribute for attribute in ("area", "near") if attribute in meaning]
    if where and rng.random() < 0.25:
        front = rng.choice(where)
        noun, left = noun_phrase(without(meaning, front), rng)
        front = tell(meaning, front, "after", rng)
        openings = (f"{front} there is {noun} called {name}", f"{front}, {name} is {noun}")
    else:
        noun, left = noun_phrase(meaning, rng)
        openings = (f"{name} is {noun}", f"there is {noun} called {name}", f"{noun} is {name}", f"{name}, {noun},")
    opening = rng.choice([opening for opening in openings if left or not opening.endswith(",")])
    if not left:
        return write([opening])
    joint = "" if opening.endswith(",") else rng.choice((" and it", ". It", ". The place"))
    return write([f"{opening}{joint} {predicates(meaning, left, rng)}"])


def without(meaning: Meaning, attribute: str) -> Meaning:
    return {name: value for name, value in meaning.items() if name != attribute}


@cache
def generate(split: str, seed: int = 0) -> Dataset:
    """A split of E2E in the miniature world: train (600 meanings), validation or test (40 each).

    Columns `meaning_representation` and `human_reference`; each meaning has 3 to 7 different references in adjacent
    rows. No two splits share a meaning. Raises ValueError for an unknown split.
    """
    from datasets import Dataset

    if split not in MEANINGS:
        raise ValueError(f"split={split!r}: the miniature world has {', '.join(MEANINGS)}")
    rng = Random(f"places {seed}")
    seen: set[str] = set()
    for name, size in MEANINGS.items():  # including the splits before, which it must avoid
        rows, full = [], len(seen) + size
        while len(seen) < full:
            meaning = draw_meaning(rng)
            written = write_meaning(meaning)
            if written in seen:
                continue
            seen.add(written)
            references: list[str] = []
            for _ in range(rng.randint(3, 7)):
                while (text := describe(meaning, rng)) in references:
                    pass
                references.append(text)
            rows += [{"meaning_representation": written, "human_reference": text} for text in references]
        if name == split:
            return Dataset.from_list(rows)

"""The pre-training text of the miniature GPT-2: reports of the miniature world, and where its people eat.

It uses the words of mini/places.py in other sentences, and never the task's form of a meaning. Much is said twice, so
that a model learns to copy names and values.
"""

from collections.abc import Iterator
from random import Random

from experiments.data.meanings import spaced
from experiments.mini import places, reports
from experiments.mini.language import draw_event, draw_name, say_event, write
from experiments.mini.places import Meaning, draw_meaning, noun_phrase, predicates

FACTS = {  # wordings of a note
    "name": "the name is {}/it is called {}",
    "eatType": "it is a {}/the kind is {}",
    "food": "the food is {}/the cook is {}",
    "priceRange": "the price is {}/you pay {}",
    "customer rating": "the rating is {}/the verdict is {}",
    "area": "the district is the {}/the quarter is the {}",
    "familyFriendly": "with children {}/families {}",
    "near": "the neighbor is {}/next door is {}",
}


def documents(seed: int) -> Iterator[str]:
    """Endless documents of about one to four sentences; some continue the one before.

    Half of them have spaces around punctuation, like the texts of E2E for GPT-2.
    """
    rng = Random(f"stories {seed}")
    world = reports.documents(seed)
    kinds = (lambda _: next(world), visit, visit, notes, notes, round_trip, comparison)
    while True:
        texts = rng.choice(kinds)(rng)
        if rng.random() < 0.5:
            texts = (" ".join(texts),)
        yield from map(spaced, texts) if rng.random() < 0.5 else texts


def recommend(meaning: Meaning, rng: Random) -> str:
    """All of a meaning in one or two sentences, as in a guide book."""
    name, who = meaning["name"], draw_name(rng)
    noun, left = noun_phrase(meaning, rng)
    opening = rng.choice(
        (
            f"{who} likes {name}, {noun}",
            f"we went to {name}, which is {noun}",
            f"if you look for {noun}, try {name}",
            f"{who} took us to {noun}, {name} by name",
            f"you should visit {name} for {noun}",
        )
    )
    if not left:
        return write([opening])
    rest = predicates(meaning, left, rng)
    return write([opening]) + " " + write([rng.choice((f"{who} says it {rest}", f"{name} {rest}", f"this one {rest}"))])


def visit(rng: Random) -> tuple[str, ...]:
    """The recommendation of a place, mostly twice, in different words."""
    meaning = draw_meaning(rng)
    again = rng.choice(("", "In other words: ", "In short: ", "To say it again: "))
    first, second = (recommend(meaning, rng) for _ in range(2))
    return (first, again + second) if again else (first,)


def notes(rng: Random) -> tuple[str, ...]:
    """Notes of the facts about a place, and mostly a recommendation made of them."""
    meaning = draw_meaning(rng)
    facts = [rng.choice(FACTS[attribute].split("/")).format(value) for attribute, value in meaning.items()]
    rng.shuffle(facts)
    noted = write([f"{draw_name(rng)} noted", "; ".join(facts)])
    return (noted,) if rng.random() < 0.2 else (noted, recommend(meaning, rng))


def round_trip(rng: Random) -> tuple[str, str]:
    """A list of names of places, and the same list again, or reversed."""
    stops = rng.sample(places.NAMES, rng.randint(2, 5))
    who, way = draw_name(rng), rng.choice(("again", "back"))
    onwards = " | ".join(stops)
    return f"{who} went : {onwards}.", f"Then {way} : {onwards if way == 'again' else ' | '.join(reversed(stops))}."


def comparison(rng: Random) -> tuple[str, ...]:
    """Two places, a report in between, and which of the two is better."""
    one, other = draw_meaning(rng), draw_meaning(rng)
    between = write(say_event(draw_event(rng, social=True), rng))
    last = rng.choice((one, other))
    rest = predicates(last, [attribute for attribute in last if attribute not in ("name", "eatType")], rng)
    return recommend(one, rng), recommend(other, rng), between, f"{last['name']} is better because it {rest}."

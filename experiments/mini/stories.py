"""The text the miniature GPT-2 is pre-trained on: what happens in the miniature world, and where its people eat.

It tells of places in the words of experiments/mini/places.py but in sentences of its own, and never of a meaning as the
task writes it. What is said is often said again: so a model learns to carry over a name or a value that it has read.
"""

from collections.abc import Iterator
from random import Random

from experiments.mini import places, pretraining
from experiments.mini.language import NAMES, draw_event, say_event, write
from experiments.mini.places import Meaning, draw_meaning, noun_phrase, predicates

FACTS = {  # how a fact is put down, one of the ways
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
    """Endless documents of one to about four sentences."""
    rng = Random(f"stories {seed}")
    world = pretraining.documents(seed)
    kinds = (lambda rng: " ".join(next(world)), visit, visit, notes, notes, round_trip, comparison)
    while True:
        yield rng.choice(kinds)(rng)


def person(rng: Random) -> str:
    return rng.choice(NAMES)[0]


def recommend(meaning: Meaning, rng: Random) -> str:
    """All of a meaning in one or two sentences of a guide book."""
    name, who = meaning["name"], person(rng)
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


def visit(rng: Random) -> str:
    """A place that is recommended, mostly twice: the second time in other words, and in another order."""
    meaning = draw_meaning(rng)
    again = rng.choice(("", "in other words", "in short", "to say it again"))
    return recommend(meaning, rng) + (f" {write([again], ':')} {recommend(meaning, rng)}" if again else "")


def notes(rng: Random) -> str:
    """What somebody noted of a place, fact by fact, and mostly the recommendation made of it."""
    meaning = draw_meaning(rng)
    facts = [rng.choice(FACTS[attribute].split("/")).format(value) for attribute, value in meaning.items()]
    rng.shuffle(facts)
    noted = write([f"{person(rng)} noted", "; ".join(facts)])
    return noted if rng.random() < 0.2 else f"{noted} {recommend(meaning, rng)}"


def round_trip(rng: Random) -> str:
    """Names of places in a row, and the same names again, onwards or back."""
    stops = rng.sample(places.NAMES, rng.randint(2, 5))
    who, way = person(rng), rng.choice(("again", "back"))
    onwards = " | ".join(stops)
    return f"{who} went : {onwards}. Then {way} : {onwards if way == 'again' else ' | '.join(reversed(stops))}."


def comparison(rng: Random) -> str:
    """Two places, a story between them, and the word of the one that is better."""
    one, other = draw_meaning(rng), draw_meaning(rng)
    between = write(say_event(draw_event(rng, social=True), rng))
    last = rng.choice((one, other))
    rest = predicates(last, [attribute for attribute in last if attribute not in ("name", "eatType")], rng)
    return f"{recommend(one, rng)} {recommend(other, rng)} {between} {last['name']} is better because it {rest}."

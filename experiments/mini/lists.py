"""The pre-training text of the miniature LLaMA: reports of the miniature world, and notes that its people take.

A notebook lists people and things, and remarks on the list: reversed, sorted, its length, its members, synonyms. So a
model learns all that mini/instructions.py asks for, in other sentences: it never sees an instruction or a lone answer.
"""

from collections.abc import Iterator
from random import Random

from experiments.mini import reports
from experiments.mini.instructions import COUNTS, PEOPLE, SYNONYMS, WORDS, draw_list, draw_odd, settled
from experiments.mini.language import draw_event, draw_name, say_event, say_noun, write


def documents(seed: int) -> Iterator[str]:
    """Endless documents of about two to six sentences, or lines without full stops."""
    rng = Random(f"lists {seed}")
    world = reports.documents(seed)
    kinds = (lambda _: next(world), story, story, guests, *[notebook] * 4, *[refrain] * 3)
    while True:
        sentences = rng.choice(kinds)(rng)
        if rng.random() < 0.5:
            yield " ".join(sentences)
        else:
            yield "\n".join(sentence.removesuffix(".").replace(": ", ":\n") for sentence in sentences)


def story(rng: Random) -> list[str]:
    """An event, and some of its parts repeated."""
    event = settled(draw_event(rng, social=rng.random() < 0.5), rng)
    agent, patient = (" ".join(say_noun(noun, rng)) for noun in (event.agent, event.patient))
    remarks = (
        f"Hero: {agent}.",
        f"Target: {patient}.",
        f"Scene: {event.place[0]}.",
        f"Hour: {event.time[0]}.",
    )
    return [write(say_event(event, rng)), *rng.sample(remarks, rng.randint(1, 3))]


def notebook(rng: Random) -> list[str]:
    """A list of words, and two to four remarks on it."""
    words = draw_list(rng, 2, 6)
    absent = rng.choice([word for word in WORDS if word not in words])
    is_a = rng.choice([word for word in words if word in SYNONYMS] or ["boat"])
    remarks = [
        _row("Once more", words),
        _row("From the end", words[::-1]),
        _row("From the end", words[::-1]),
        _row("In the dictionary", sorted(words)),
        _row("In the dictionary", sorted(words)),
        _row("By other names", [SYNONYMS.get(word, word) for word in words]),
        f"At the front stands {words[0]}, behind it {words[1]}.",
        f"The back is {words[-1]}, before it {words[-2]}.",
        f"All in all {COUNTS[len(words)]}.",
        f"There is {rng.choice(words)} but no {absent}.",
        f"A {is_a} and a {SYNONYMS[is_a]} are all one.",
    ]
    chosen = dict.fromkeys(rng.sample(remarks, rng.randint(2, 4)))  # each once
    return [_row(f"{draw_name(rng)} noted", words), *chosen]


def refrain(rng: Random) -> list[str]:
    """A list of words, repeated: otherwise such a small model hardly learns to copy."""
    words = draw_list(rng, 3, 12)
    return [_row(f"{draw_name(rng)} sang", words * rng.randint(2, 3))]


def guests(rng: Random) -> list[str]:
    """People and one thing, or things and one person."""
    words, stranger = draw_odd(rng)
    nobody = "Nobody" if stranger in PEOPLE else "Nothing"
    return [_row(f"{draw_name(rng)} saw", words), f"{nobody} else but {stranger}."]


def _row(title: str, words: list[str]) -> str:
    return f"{title}: {' '.join(words)}."

"""A small English-like language: a lexicon, meanings, and the sentences that express them.

A concept is a tuple of synonyms. A meaning is an `Event` (who did what to whom, where and when) or an opinion of a
film. Saying a meaning twice gives two paraphrases: synonyms, voice and word order are drawn each time, from the
`random.Random` that is passed in.
"""

from dataclasses import dataclass, replace
from random import Random

Concept = tuple[str, ...]


def _concepts(text: str) -> list[Concept]:
    """`"doctor/physician, nurse"` -> `[("doctor", "physician"), ("nurse",)]`."""
    return [tuple(words.strip().split("/")) for words in text.split(",")]


NAMES = _concepts(
    "Anna, Bruno, Carla, David, Elena, Frank, Grace, Henry, Irene, Jonas, Laura, Martin, Nora, Oscar, Paula"
)
ROLES = _concepts(
    "doctor/physician, teacher/instructor, lawyer/attorney, author/writer, pilot/aviator, singer/vocalist, nurse, "
    "baker, robber/burglar, student/pupil, actor/performer, king/monarch, painter/artist, guest/visitor, "
    "soldier/trooper"
)
OBJECTS = _concepts(
    "car/automobile, sofa/settee, stone/rock, gift/present, picture/image, boat/ship, coat/jacket, lamp, cup/mug, "
    "bag/sack, rug/carpet, book/volume, ring, violin/fiddle, letter/message, bike/bicycle, hat/cap, clock"
)
SOCIAL_VERBS = _concepts(  # a person does this to a person
    "help/assist, visit, chase/pursue, follow/trail, greet/welcome, call, praise/applaud, hire/employ, warn/alert, "
    "trust, admire/respect, annoy/irritate, rescue/save, trick/deceive, question/interview"
)
HANDLING_VERBS = _concepts(  # a person does this to an object
    "repair/mend, purchase/acquire, paint, clean/wash, move/shift, destroy/wreck, lift/raise, open, borrow, "
    "discover/locate, collect/gather, want/desire"
)
HUMAN_ADJECTIVES = _concepts(
    "happy/glad, sad/unhappy, rich/wealthy, poor/needy, clever/smart, foolish/silly, tall, brave/bold"
)
THING_ADJECTIVES = _concepts(
    "big/large, small/little, new/modern, old/ancient, cheap/inexpensive, costly/expensive, red, blue"
)
NUMBERS = ("two", "three", "four", "five", "six")
PLACES = _concepts(
    "in the garden/in the yard, in the forest/in the woods, at the market/at the bazaar, at the harbor/at the port, "
    "in Paris, in Rome, in London, at the station, near the river/near the stream, in the kitchen"
)
TIMES = _concepts(
    "yesterday, on Monday, on Friday, in the morning, at night, last week, in April, in winter, last year"
)

ASPECTS = _concepts(
    "film/movie, acting/performance, plot/story, music/soundtrack, ending/finale, script/screenplay, humor"
)
PRAISE = _concepts("wonderful, superb, brilliant, charming, gripping, delightful, lovely, great, fresh, touching")
BLAME = _concepts("terrible, awful, dull, boring, clumsy, weak, tedious, bland, messy, horrible")
LIKING, DISLIKING = _concepts("love/adore, enjoy/like"), _concepts("hate/loathe, dislike/resent")

SLOTS = ("agent", "verb", "patient", "place", "time")
STYLES = ("plain", "and", "but", "although_first", "although_last")  # of an opinion


@dataclass(frozen=True)
class Noun:
    """A noun phrase. `number` is "one", "many" or a numeral; a name has neither number nor adjective."""

    concept: Concept
    number: str = "one"
    adjective: Concept | None = None

    @property
    def plural(self) -> bool:
        return self.number != "one"


@dataclass(frozen=True)
class Event:
    """Who did what to whom, where and when; `place` and `time` are optional."""

    agent: Noun
    verb: Concept
    patient: Noun
    place: Concept | None = None
    time: Concept | None = None
    past: bool = True
    negated: bool = False

    @property
    def social(self) -> bool:
        return self.verb in SOCIAL_VERBS


def draw_name(rng: Random) -> str:
    return rng.choice(NAMES)[0]


def draw_event(rng: Random, social: bool, apart_from: Event | None = None) -> Event:
    """A random event with a place and a time, without concepts of `apart_from`."""

    def other_than(options: list[Concept], *used: Concept | None) -> Concept:
        return rng.choice([option for option in options if option not in used])

    def person(*used: Concept | None) -> Noun:
        if rng.random() < 0.35:
            return Noun(other_than(NAMES, *used))
        adjective = other_than(HUMAN_ADJECTIVES, *adjectives) if rng.random() < 0.6 else None
        return Noun(other_than(ROLES, *used), rng.choice(("one", "one", "many")), adjective)

    def thing(*used: Concept | None) -> Noun:
        adjective = other_than(THING_ADJECTIVES, *adjectives) if rng.random() < 0.6 else None
        return Noun(other_than(OBJECTS, *used), rng.choice(("one", "one", "many", rng.choice(NUMBERS))), adjective)

    nouns = [apart_from.agent, apart_from.patient] if apart_from else []
    used, adjectives = [noun.concept for noun in nouns], [noun.adjective for noun in nouns]
    agent = person(*used)
    adjectives.append(agent.adjective)
    return Event(
        agent=agent,
        verb=other_than(SOCIAL_VERBS if social else HANDLING_VERBS, apart_from and apart_from.verb),
        patient=(person if social else thing)(*used, agent.concept),
        place=other_than(PLACES, apart_from and apart_from.place),
        time=other_than(TIMES, apart_from and apart_from.time),
        past=rng.random() < 0.6,
    )


def with_s(word: str) -> str:
    """The plural of a noun, or the third person of a verb."""
    return word + ("es" if word.endswith(("s", "sh")) else "s")


def past_tense(verb: str) -> str:
    """The past and the participle; all verbs are regular."""
    return verb + ("d" if verb.endswith("e") else "ed")


def say_noun(noun: Noun, rng: Random) -> list[str]:
    word = rng.choice(noun.concept)
    if noun.concept in NAMES:
        return [word]
    adjective = [rng.choice(noun.adjective)] if noun.adjective else []
    determiner = noun.number if noun.number in NUMBERS else "the"
    return [determiner, *adjective, with_s(word) if noun.plural else word]


def say_verb(event: Event, rng: Random, passive: bool, agrees: bool = True) -> list[str]:
    """The verb with its auxiliaries; in the wrong number unless it `agrees`, where the tense shows number."""
    verb, no = rng.choice(event.verb), ["not"] * event.negated
    plural = (event.patient if passive else event.agent).plural == agrees
    if passive:
        be = ("were" if plural else "was") if event.past else ("are" if plural else "is")
        return [be, *no, past_tense(verb), "by"]
    if event.negated:
        return ["did" if event.past else "do" if plural else "does", *no, verb]
    return [past_tense(verb) if event.past else verb if plural else with_s(verb)]


def say_event(event: Event, rng: Random, passive: bool | None = None, agrees: bool = True) -> list[str]:
    """The words of a clause; the voice is drawn if `passive` is None. Place or time may come first."""
    passive = rng.random() < 0.4 if passive is None else passive
    subject, other = (event.patient, event.agent) if passive else (event.agent, event.patient)
    adverbials = [rng.choice(concept).split() for concept in (event.place, event.time) if concept]
    rng.shuffle(adverbials)
    front = [*adverbials.pop(), ","] if adverbials and rng.random() < 0.25 else []
    clause = [*front, *say_noun(subject, rng), *say_verb(event, rng, passive, agrees), *say_noun(other, rng)]
    return clause + [word for phrase in adverbials for word in phrase]


def ask(event: Event, slot: str, rng: Random) -> str:
    """The question for a slot of the event: agent, patient, place or time."""
    place, time = (
        [] if slot == name else rng.choice(getattr(event, name) or ("",)).split() for name in ("place", "time")
    )
    if slot == "agent":
        words = ["who", *say_verb(replace(event, agent=Noun(("who",))), rng, False), *say_noun(event.patient, rng)]
    else:
        word = {"patient": "who" if event.social else "what", "place": "where", "time": "when"}[slot]
        auxiliary = "did" if event.past else "do" if event.agent.plural else "does"
        patient = [] if slot == "patient" else say_noun(event.patient, rng)
        words = [word, auxiliary, *say_noun(event.agent, rng), rng.choice(event.verb), *patient]
    return write([*words, *place, *time], "?")


def say_opinion(positive: bool, style: str, rng: Random) -> list[str]:
    """The words of an opinion in one of STYLES, positive or not on the whole; in a contrast the main clause, or the one
    after "but", has its polarity."""
    main, more, against = (_say_judgement(each, rng) for each in (positive, positive, not positive))
    return {
        "plain": main,
        "and": [*main, "and", *more],
        "but": [*against, ",", "but", *main],
        "although_first": ["although", *against, ",", *main],
        "although_last": [*main, ",", "although", *against],
    }[style]


def _say_judgement(positive: bool, rng: Random) -> list[str]:
    denied = rng.random() < 0.4
    aspect = ["the", rng.choice(rng.choice(ASPECTS))]
    if rng.random() < 0.7:
        word = rng.choice(rng.choice(PRAISE if positive != denied else BLAME))
        return [*aspect, "was", rng.choice(("not", "never", "hardly") if denied else ("very", "rather", "quite")), word]
    verb = rng.choice(rng.choice(LIKING if positive != denied else DISLIKING))
    return ["I", *(["did", "not", verb] if denied else [past_tense(verb)]), *aspect]


def write(words: list[str], mark: str = ".") -> str:
    """The words as a sentence, with a capital letter and a final mark."""
    text = " ".join(words).replace(" ,", ",")
    return text[0].upper() + text[1:] + mark

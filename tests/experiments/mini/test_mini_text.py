"""The miniature world of places to eat: meanings and references are E2E's in form and true; GPT-2 knows the words."""

import math
import re
from collections import Counter
from itertools import groupby, islice

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.data.assets import EMBEDDED
from experiments.data.meanings import spaced
from experiments.mini import places, stories

CHECKPOINT = EMBEDDED / "gpt2"
E2E = ("name", "eatType", "food", "priceRange", "customer rating", "area", "familyFriendly", "near")
SPLITS = {"train": 600, "validation": 40, "test": 40}  # meanings
SIGNS = {  # of a value, where it is not told by itself
    "cheap": "cheap|inexpensive|low price",
    "moderate": "moderate",
    "expensive": r"\bexpensive|costly|high price",
    "poor": "poor|badly|bad reviews",
    "average": "average",
    "excellent": "excellent|(highly|well) rated|great",
    "yes": "(?<!not )(family|child) friendly|whole family|children are welcome|welcomes",
    "no": "adults|not family friendly|not welcome",
}


def rows(split: str) -> list[tuple[dict[str, str], str]]:
    """Meaning and reference, the meaning taken apart by E2E's syntax."""
    data = places.generate(split)
    meanings = []
    for text in data["meaning_representation"]:
        parts = re.findall(r"([\w ]+)\[([\w ]+)\](?:, |$)", text)
        assert ", ".join(f"{attribute}[{value}]" for attribute, value in parts) == text, "nothing but attribute[value]"
        meanings.append(dict(parts))
    return list(zip(meanings, data["human_reference"], strict=True))


def told(reference: str) -> set[tuple[str, str]]:
    """What a reader takes from a reference, by signs of its own; a name is a neighbor's where it follows "near"."""
    found = {
        (attribute, value)
        for attribute in E2E[1:-1]
        for value in places.VALUES[attribute]
        if re.search(SIGNS.get(value, value), reference, re.IGNORECASE)
    }
    for name in places.NAMES:
        for match in re.finditer(name, reference):
            near = re.search(r"(near|close to|next to) $", reference[: match.start()], re.IGNORECASE)
            found.add(("near" if near else "name", name))
    return found


def test_a_seed_fixes_the_rows_wherever_they_are_made():
    assert places.generate("test")[:] == places.generate.__wrapped__("test")[:]
    assert places.generate("test")[:] != places.generate("test", seed=1)[:]
    assert places.generate("train")[0] == {
        "meaning_representation": "name[Mossy Kettle], eatType[tavern], priceRange[moderate], familyFriendly[no], "
        "near[Ivory Compass]",
        "human_reference": "There is a moderately priced tavern where children are not welcome called Mossy Kettle. "
        "It is near Ivory Compass.",
    }
    with pytest.raises(ValueError, match=r"'tset'.*validation"):
        places.generate("tset")


def test_no_meaning_is_in_two_splits_and_each_has_several_references_side_by_side():
    seen = set()
    for split, meanings in SPLITS.items():
        groups = [(key, [row[1] for row in group]) for key, group in groupby(rows(split), lambda row: str(row[0]))]
        assert len(groups) == len({key for key, _ in groups} - seen) == meanings
        seen |= {key for key, _ in groups}
        assert {len(texts) for _, texts in groups} == {3, 4, 5, 6, 7}
        assert all(len(set(texts)) == len(texts) for _, texts in groups)


def test_meanings_have_the_form_of_e2e():
    assert places.generate("test").column_names == ["meaning_representation", "human_reference"]
    meanings = [meaning for split in SPLITS for meaning, _ in rows(split)]
    for meaning in meanings:
        assert list(meaning) == [attribute for attribute in E2E if attribute in meaning], "E2E's order"
        assert meaning["name"] != meaning.get("near")
        assert all(value in places.VALUES[attribute] for attribute, value in meaning.items())
    assert {len(meaning) for meaning in meanings} == set(range(3, 9))
    assert all(any(attribute not in meaning for meaning in meanings) for attribute in E2E[1:])


def test_a_reference_says_what_its_meaning_says_or_one_thing_less():
    left_out = []
    for meaning, reference in rows("train"):
        assert re.fullmatch(r"[A-Z][A-Za-z0-9 ,.]+\.", reference)
        assert told(reference) <= meaning.items() and ("name", meaning["name"]) in told(reference), (meaning, reference)
        left_out.append(len(meaning.items() - told(reference)))
    assert set(left_out) == {0, 1} and 0.1 < sum(left_out) / len(left_out) < 0.25


def test_the_stories_are_fixed_by_a_seed_and_do_not_show_the_task():
    first, again, other = (list(islice(stories.documents(seed), 2000)) for seed in (0, 0, 1))
    assert first == again and len(set(first) & set(other)) < 40
    references = {spaced(reference) for reference in places.generate("train")["human_reference"]}
    for text in map(spaced, first[:300]):
        assert not re.search(r"(name|Type|food|price|rating|area|friendly|near) :", text)
        assert not any(reference in text for reference in references), text


def test_the_checkpoint_is_a_small_gpt2_whose_tokenizer_writes_every_word():
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINT)
    assert model.config.model_type == "gpt2" and model.config.n_layer == 4
    assert sum(parameter.numel() for parameter in model.parameters()) == 694_016
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 2e6
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    assert tokenizer.eos_token_id == model.config.eos_token_id == 0
    for reference in map(spaced, places.generate("train")["human_reference"]):
        ids = tokenizer(" " + reference)["input_ids"]
        assert tokenizer.decode(ids) == " " + reference and len(ids) <= 80
    assert all(len(tokenizer(" " + name)["input_ids"]) == 2 for name in places.NAMES)


@pytest.fixture(scope="module")
def checkpoint():
    return AutoModelForCausalLM.from_pretrained(CHECKPOINT).float().eval(), AutoTokenizer.from_pretrained(CHECKPOINT)


def test_the_checkpoint_predicts_stories_it_was_not_trained_on(checkpoint):
    model, tokenizer = checkpoint
    texts = list(islice(stories.documents(99), 400))
    stream = [token for text in texts for token in (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)]
    counts = Counter(stream)
    unigram = math.exp(-sum(n * math.log(n / len(stream)) for n in counts.values()) / len(stream))
    block = torch.tensor(stream[: len(stream) // 256 * 256]).view(-1, 256)
    with torch.no_grad():
        perplexity = math.exp(model(input_ids=block, labels=block).loss)
    assert perplexity < 3.5 and perplexity < unigram / 20, (perplexity, unigram)

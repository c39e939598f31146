"""The miniature world's instructions have the answers a reader would give; LLaMA's miniature knows its words."""

import math
import re
from collections import Counter
from itertools import islice
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.data.assets import EMBEDDED
from experiments.mini import instructions, lists
from experiments.mini.language import NAMES, OBJECTS, PLACES, ROLES, TIMES
from experiments.pretraining import causal

CHECKPOINT = EMBEDDED / "llama"
SPLITS = {"train": 4000, "validation": 200, "test": 200}
KINDS = {  # by words of the instruction
    "backwards": "Reverse|backwards|order around|end of the list",
    "alphabetical": "Sort|words in order|alphabet|A to Z",
    "count": "How many|How long|Count|number of",
    "odd": "odd one|unlike|belong|misfit",
    "synonyms": "other words|synonym|Replace|means the same",
    "membership": "Is (.*) in the list|Is (.*) one of these|Do you see (.*) here|Tell me if (.*) is there",
    "position": "Which is the (.*)|Name the (.*) word|the (.*) of these|comes (.*)",
    "agent": "Who did|who did|who acted|deed",
    "patient": "done to|was it done|acted on",
    "place": "Where|where|place",
    "time": "When|when|time",
}
ORDINALS = {"first": 0, "second": 1, "third": 2, "last but one": -2, "last": -1}
SAME = dict(pair for concept in (*ROLES, *OBJECTS) for pair in zip(concept, concept[::-1], strict=True))
SLOTS = ("agent", "patient", "place", "time")
NUMBER = r"(?:[Tt]he|[Tt]wo|[Tt]hree|[Ff]our|[Ff]ive|[Ss]ix)"
PERSONS = {word for concept in ROLES for word in concept}
NOUNS = "|".join(word for concept in (*ROLES, *OBJECTS) for word in concept)
PHRASE = rf"(?:{'|'.join(name for (name,) in NAMES)})|{NUMBER}(?: \w+)?? (?:{NOUNS})(?:e?s)?\b"
FIRST = {"instruction": "Write it backwards: jacket teacher bike", "input": "", "output": "bike teacher jacket"}


def taken_apart(row: dict[str, str]) -> tuple[str, str, str]:
    """Kind, what the kind's words leave open (a word, an ordinal), and the text that is asked about."""
    task, text = row["instruction"], row["input"]
    if not text:
        task, text = task.split(": ")
    kind, match = next((kind, match) for kind, words in KINDS.items() if (match := re.search(words, task)))
    return kind, next(filter(None, match.groups()), "").rstrip(".?"), text


def solved(kind: str, asked: str, text: str) -> list[str]:
    """What a reader may answer, worked out from the text alone."""
    words = text.split()
    if kind in ("place", "time"):
        return [p for concept in (PLACES if kind == "place" else TIMES) for p in concept if p.lower() in text.lower()]
    if kind in ("agent", "patient"):
        clause, passive = text.split(", ")[-1], " by " in text  # behind what stands in front of it
        subject, behind = (re.search(f"{start}({PHRASE})", clause) for start in ("^", ".+ (?:by )?"))
        found = subject if (kind == "agent") != passive else behind
        return [re.sub(NUMBER, lambda word: word[0].lower(), found[1])]
    return [
        {
            "backwards": lambda: " ".join(reversed(words)),
            "alphabetical": lambda: " ".join(sorted(words)),
            "count": lambda: ("two", "three", "four", "five", "six")[len(words) - 2],
            "odd": lambda: next(w for w in words if sum((w in PERSONS) == (o in PERSONS) for o in words) == 1),
            "synonyms": lambda: " ".join(SAME[word] for word in words),
            "membership": lambda: "yes" if asked in words else "no",
            "position": lambda: words[ORDINALS[asked]],
        }[kind]()
    ]


def test_every_answer_is_the_one_right_answer():
    kinds = {split: Counter() for split in SPLITS}
    for split in SPLITS:
        for row in instructions.generate(split):
            kind, asked, text = taken_apart(row)
            kinds[split][kind] += 1
            assert solved(kind, asked, text) == [row["output"]], row
            assert len(row["output"].split()) <= 4
    assert all(kinds[split].keys() == KINDS.keys() for split in SPLITS), kinds
    most = Counter(row["output"] for row in instructions.generate("test")).most_common(1)[0][1]
    assert most < 0.1 * SPLITS["test"], "no answer is right often"


def test_a_seed_fixes_the_rows_and_no_split_asks_what_another_asks():
    assert instructions.generate("test")[:] == instructions.generate.__wrapped__("test")[:]
    assert instructions.generate("test")[:] != instructions.generate("test", seed=1)[:]
    asked = set()
    for split, size in SPLITS.items():
        rows = instructions.generate(split)
        assert rows.column_names == ["instruction", "input", "output"] and len(rows) == size
        assert 0.4 < sum(text == "" for text in rows["input"]) / size < 0.6
        texts = {(kind if kind not in SLOTS else "", text) for kind, _, text in map(taken_apart, rows)}
        assert len(texts) == size and not texts & asked
        asked |= texts
    assert instructions.generate("train")[0] == FIRST
    with pytest.raises(ValueError, match=r"'tset'.*validation"):
        instructions.generate("tset")


def test_the_lists_are_fixed_by_a_seed_and_hold_no_instruction():
    first, again, other = (list(islice(lists.documents(seed), 2000)) for seed in (0, 0, 1))
    assert first == again and len(set(first) & set(other)) < 40
    wordings = {re.split(r"[:?.]", task)[0] for task in instructions.generate("train")["instruction"]}
    assert not any(wording in text for text in first for wording in wordings)


def test_a_llama_s_tokenizer_begins_every_text_and_writes_any(tmp_path):
    """Made anew and as embedded."""
    causal.marked_tokenizer(["a lamp, a coat"] * 3, 270, 64, tmp_path)
    for folder in (tmp_path, CHECKPOINT):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<unk>", "<s>", "</s>"]
        assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)
        for text in ("A lamp.", "### Größe:\n\t😀 «x»  y\n", ""):
            (start, *ids) = tokenizer(text)["input_ids"]
            assert start == 1 and not {0, 1, 2} & set(ids) and tokenizer.decode(ids) == text
        assert tokenizer("A lamp.", add_special_tokens=False)["input_ids"] == tokenizer("A lamp.")["input_ids"][1:]


def test_the_checkpoint_is_a_small_llama_with_a_token_for_every_word():
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINT)
    assert model.config.model_type == "llama" and model.config.num_key_value_heads == 2
    assert sum(parameter.numel() for parameter in model.parameters()) == 722_048
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 2e6
    assert (model.config.bos_token_id, model.config.eos_token_id) == (1, 2)
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    starts = [tokenizer(start + word)["input_ids"] for word in instructions.WORDS for start in ("", " ")]
    assert {len(ids) for ids in starts} == {2}, "behind <s>"


def test_the_checkpoint_predicts_lists_it_was_not_trained_on():
    model, tokenizer = AutoModelForCausalLM.from_pretrained(CHECKPOINT), AutoTokenizer.from_pretrained(CHECKPOINT)
    block = causal.blocks(tokenizer, list(islice(lists.documents(99), 300)), 256)["input_ids"][:]
    counts = block.flatten().bincount()
    shares = counts[counts > 0] / counts.sum()
    unigram = math.exp(-(shares * shares.log()).sum())
    with torch.no_grad():
        perplexity = math.exp(model.float().eval()(input_ids=block, labels=block).loss)
    assert perplexity < 5 and perplexity < unigram / 20, (perplexity, unigram)


def test_the_checkpoint_says_again_what_it_has_read():
    """The second half of a refrain; by knowing the words alone it would be right once in sixty."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(CHECKPOINT), AutoTokenizer.from_pretrained(CHECKPOINT)
    rng = Random(0)
    rows = torch.tensor(
        [tokenizer("Anna sang: " + " ".join(rng.sample(instructions.WORDS, 8) * 2))["input_ids"] for _ in range(50)]
    )
    with torch.no_grad():
        guesses = model.float().eval()(input_ids=rows).logits[:, -8:-1].argmax(-1)
    assert (guesses == rows[:, -7:]).float().mean() > 0.9

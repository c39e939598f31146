"""One row: which token is chosen, and what text is told of it."""

import pytest
import torch
from transformers import AutoTokenizer

from experiments.serving.engine import Job, Row
from tests.serving import LLAMA

END = 2


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(LLAMA)


@pytest.fixture
def row(tokenizer):
    """row(prompt, max_tokens, ...) -> a row, and the list of what it tells."""

    def make(prompt="a", max_tokens=100, **settings):
        told = []
        return Row(
            Job(None, tokenizer(prompt)["input_ids"], max_tokens, told.append, **settings), tokenizer, {END}
        ), told

    return make


def write(row, ids, size=1024):
    """Writes these tokens; whether the row then goes on."""
    return [row.write(torch.nn.functional.one_hot(torch.tensor(token), size).float()) for token in ids][-1]


def test_no_character_is_told_in_part(row, tokenizer):
    text = "x \N{SNOWMAN}\N{GRINNING FACE} é y"
    ids = tokenizer("a" + text)["input_ids"][len(tokenizer("a")["input_ids"]) :]
    written, told = row()
    write(written, ids)
    write(written, [END])
    assert "".join(part.text for part in told) == text and len(ids) > len(text)
    assert not any("\N{REPLACEMENT CHARACTER}" in part.text for part in told)
    assert (told[-1].finish, told[-1].tokens) == ("stop", len(ids) + 1)


def test_a_character_that_the_limit_cuts_is_told_as_one_that_is_broken(row, tokenizer):
    ids = tokenizer("\N{GRINNING FACE}")["input_ids"][-4:-1]
    written, told = row(max_tokens=3)
    assert not write(written, ids)
    assert told[-1].finish == "length" and "\N{REPLACEMENT CHARACTER}" in told[-1].text


def test_what_may_become_a_stop_is_held_back_until_it_does_not(row, tokenizer):
    def pieces(*words, stop):
        written, told = row(stop=stop)
        for word in words:
            write(written, tokenizer(word, add_special_tokens=False)["input_ids"])
        return "".join(part.text for part in told), told[-1].finish if told else None

    assert pieces("abc", stop=["cde", "bcf"]) == ("a", None)
    assert "".join(pieces("abc", "x", stop=["cde", "bcf"])[0]).replace(" ", "") == "abcx"
    assert pieces("abcd", stop=["d", "bcd"]) == ("a", "stop")


def test_samples_are_of_the_likeliest_tokens_that_have_top_p_together(row):
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()

    def drawn(**settings):
        written, _ = row(**settings)
        return torch.bincount(torch.tensor([written._choose(logits) for _ in range(2000)]), minlength=4) / 2000

    expected = torch.tensor([0.5, 0.3, 0.15, 0.05])
    assert (drawn(temperature=1.0, seed=0) - expected).abs().max() < 0.04
    squared = expected**2 / (expected**2).sum()
    assert (drawn(temperature=0.5, seed=1) - squared).abs().max() < 0.04
    assert (drawn(temperature=1.0, top_p=0.8, seed=2) - torch.tensor([0.625, 0.375, 0, 0])).abs().max() < 0.04
    for settings in ({"temperature": 0.0}, {"temperature": 5e-324}, {"temperature": 2.0, "top_p": 1e-300}):
        assert drawn(**settings)[0] == 1

"""Beam search in batches: the best text, no matter the batch or an interruption."""

import json
from contextlib import nullcontext
from itertools import product

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from experiments.models.architectures import gpt2
from experiments.models.generation import _read, generate
from experiments.models.language import BeamSearch, Sampling
from experiments.pretraining.models import GPT2

WORDS = ["<end>", "e", "a", "b", "c", "d"]
PROMPTS = [[2], [3, 4, 2, 5], [5, 5], [4, 3, 2], [2, 3, 4, 5, 2, 3, 4, 5]]


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<end>")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    model = GPT2LMHeadModel(gpt2(16, 2, n_head=2, vocab_size=len(WORDS), **GPT2 | {"n_positions": 64})).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6)  # away from equal probabilities
    return model


@pytest.fixture
def write(model, tokenizer, tmp_path):
    """write(beams=..., ...) -> the texts behind PROMPTS; the weights beside them have a digest."""
    save_file({"w": torch.zeros(1)}, tmp_path / "trained.safetensors")

    def write(batch_size=2, model=model, prompts=PROMPTS, **settings):
        usual = {"beams": 4, "length_penalty": 0.8, "no_repeat_ngram": 0, "max_new_tokens": 12}
        decoding = BeamSearch(**{**usual, **settings})
        return generate(model, tokenizer, prompts, decoding, batch_size, tmp_path, nullcontext())

    return write


@pytest.mark.parametrize("penalty", [0.4, 1.6])
def test_with_a_beam_for_every_text_it_is_the_best_of_all_by_its_score(write, model, tokenizer, penalty):
    """score = log-probability / tokens ** penalty, the end counted as a token."""
    length = 3
    found = write(beams=200, length_penalty=penalty, max_new_tokens=length)
    every = torch.tensor(list(product(range(len(WORDS)), repeat=length)))
    for prompt, text in zip(PROMPTS, found, strict=True):
        with torch.no_grad():
            logits = model(torch.cat([torch.tensor(prompt).expand(len(every), -1), every], dim=1)).logits
        logs = logits[:, len(prompt) - 1 : -1].log_softmax(-1).gather(-1, every[..., None])[..., 0].tolist()
        scores = {}
        for tokens, values in zip(every.tolist(), logs, strict=True):
            size = tokens.index(0) + 1 if 0 in tokens else length
            scores[tuple(tokens[:size])] = sum(values[:size]) / size**penalty
        best = max(scores, key=scores.get)
        words = [token for token in best if token != 0]
        assert (text.tokens, text.finished) == (len(words), 0 in best)
        assert text.output == tokenizer.decode(words).strip()


def test_neither_batch_nor_order_of_the_prompts_changes_a_text(write, tmp_path):
    at_once = [text.output for text in write(batch_size=5)]
    (tmp_path / "generated.0.jsonl").unlink()
    assert at_once == [text.output for text in write(batch_size=1)]
    backwards = write(batch_size=2, prompts=PROMPTS[::-1])
    assert at_once == [text.output for text in backwards[::-1]]


def test_no_ngram_is_written_twice_but_those_of_the_prompt_may_be(write):
    free = write(max_new_tokens=24)
    assert any(_repeats(text.output.split()) for text in free)
    ruled = write(no_repeat_ngram=3, max_new_tokens=24)
    assert not any(_repeats(text.output.split()) for text in ruled)
    prompts = [[WORDS.index(word) for word in text.output.split()[:3]] + [1] for text in ruled if text.tokens > 3]
    again = write(no_repeat_ngram=3, max_new_tokens=24, prompts=prompts)
    copied = [
        _ngrams([WORDS[t] for t in prompt]) & _ngrams(text.output.split())
        for prompt, text in zip(prompts, again, strict=True)
    ]
    assert any(copied)


def _ngrams(words, size=3):
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def _repeats(words, size=3):
    return len(_ngrams(words, size)) < len(words) - size + 1


def test_an_output_that_hits_the_limit_is_told(write):
    short, long = write(max_new_tokens=2), write(max_new_tokens=24)
    assert all(text.tokens == 2 for text in short if not text.finished)
    assert sum(text.finished for text in short) < sum(text.finished for text in long)


def test_an_interrupted_call_goes_on_and_ends_the_same(write, model, tmp_path):
    whole = write()
    file = tmp_path / "generated.0.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + len(PROMPTS)
    file.write_text("".join(lines[:3]) + lines[3][:20])  # killed within a line
    asked = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: asked.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    assert write() == whole
    assert sum(size // 4 == 2 for size in asked) and file.read_text().splitlines()[0] == lines[0].strip()
    calls = len(asked)
    assert write() == whole and len(asked) == calls  # nothing is left to do
    hook.remove()


def test_texts_of_other_weights_or_settings_are_not_taken(write, tmp_path):
    first = write()
    assert write(max_new_tokens=3) != first
    file = tmp_path / "generated.0.jsonl"
    write()
    changed = [json.loads(line) for line in file.read_text().splitlines()]
    changed[1] |= {"output": "not written by it", "sha256": None}
    file.write_text("".join(f"{json.dumps(line)}\n" for line in changed))
    assert "not written by it" in [text.output for text in write()]  # as long as the weights are the same
    save_file({"w": torch.ones(1)}, tmp_path / "trained.safetensors")
    assert write() == first


def test_a_damaged_text_is_written_again(write, tmp_path):
    whole, file = write(), tmp_path / "generated.0.jsonl"
    content = file.read_bytes()
    first = content.index(b"\n") + 1
    for place in range(0, len(content), 29):
        for damage in (b"", b"7", b"\n", b"\xff"):
            file.write_bytes(content[:place] + damage + content[place + 1 :])
            texts = {text.row: text for text in _read(file, json.loads(content[:first]))}
            assert texts.items() <= dict(enumerate(whole)).items(), "none but those that were written"
            assert place < first or len(texts) >= len(whole) - 2
    file.write_bytes(content[:-40])
    assert write() == whole


def sample(model, tokenizer, folder, temperature, rows=range(400), top_k=6, batch_size=100, seed="s"):
    """One token behind the first prompt for each row: its id."""
    sampling = Sampling(temperatures=[temperature] * len(rows), top_k=top_k, max_new_tokens=1, seed=seed)
    prompts = [PROMPTS[0]] * len(rows)
    texts = generate(model, tokenizer, prompts, sampling, batch_size, folder, nullcontext(), f"t{batch_size}")
    return [tokenizer.convert_tokens_to_ids(text.output) if text.finished is False else 0 for text in texts]


def test_samples_have_the_model_s_probabilities_at_the_temperature(model, tokenizer, tmp_path):
    """Of 400 draws none is off by more than four standard deviations; of the likeliest two, no other is drawn."""
    with torch.no_grad():
        logits = model(torch.tensor([PROMPTS[0]])).logits[0, -1]
    for temperature in (0.7, 3.0):
        wanted = (logits / temperature).softmax(-1)
        counts = torch.tensor(sample(model, tokenizer, tmp_path, temperature)).bincount(minlength=len(WORDS)) / 400
        assert ((counts - wanted).abs() <= 4 * (wanted * (1 - wanted) / 400).sqrt() + 1e-3).all(), (counts, wanted)
    assert set(sample(model, tokenizer, tmp_path, 9.0, top_k=2)) == set(logits.topk(2).indices.tolist())
    assert set(sample(model, tokenizer, tmp_path, 0.0)) == {int(logits.argmax())}


def test_a_sample_depends_on_seed_and_row_alone(model, tokenizer, tmp_path):
    whole = sample(model, tokenizer, tmp_path, 3.0, rows=range(12), batch_size=12)
    assert sample(model, tokenizer, tmp_path, 3.0, rows=range(12), batch_size=5) == whole
    assert sample(model, tokenizer, tmp_path, 3.0, rows=range(12), batch_size=4, seed="t") != whole

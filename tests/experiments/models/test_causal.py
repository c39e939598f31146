"""Causal language models: where the loss is, label smoothing, padding."""

import json

import numpy as np
import pytest
import torch
from transformers import EvalPrediction
from transformers.utils import ModelOutput

from experiments.errors import UserError
from experiments.models import causal
from experiments.pretraining.causal import byte_tokenizer


@pytest.fixture(scope="module")
def batch():
    """Logits (3, 7, 11) and labels (3, 7), the first tokens of each row unlabelled."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 11, (3, 7), generator=generator)
    labels[0, :3] = labels[1, :5] = labels[2, :1] = causal.IGNORED
    return torch.randn(3, 7, 11, generator=generator), labels


def test_the_smoothed_loss_is_that_of_the_lora_papers_code(batch):
    logits, labels = batch
    logs = logits[:, :-1].log_softmax(-1)
    mask = labels[:, 1:] != causal.IGNORED
    truth = -logs.gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0]
    wanted = 0.9 * truth[mask] + 0.1 * -logs.mean(-1)[mask]  # microsoft/LoRA, examples/NLG/src/model.py
    loss = causal.smoothed(0.1)
    torch.testing.assert_close(loss(ModelOutput(logits=logits), labels), wanted.mean())


def test_perplexity_is_of_the_labelled_tokens(batch):
    logits, labels = batch
    losses = causal.token_losses(logits, labels)
    found = causal.perplexity(EvalPrediction(losses.numpy(), labels.numpy()))
    probabilities = [
        float(logits[row, place - 1].softmax(-1)[labels[row, place]])
        for row in range(3)
        for place in range(7)
        if labels[row, place] != causal.IGNORED
    ]
    loss = -np.log(probabilities).mean()
    assert found == {
        "loss": pytest.approx(loss, rel=1e-5),
        "inverse_perplexity": pytest.approx(np.exp(-loss), rel=1e-5),
    }


def test_the_answer_alone_is_learnt_and_a_row_that_is_too_long_is_named():
    rows = causal.encoded([[1, 2], [3]], [[4, 0], [5, 6, 0]], 4, "a set, train")
    assert rows["input_ids"][:] == [[1, 2, 4, 0], [3, 5, 6, 0]]
    assert rows["labels"][:] == [[-100, -100, 4, 0], [-100, 5, 6, 0]]
    with pytest.raises(UserError, match=r"a set, train, row 1: 4 tokens, more than recipe.max_length=3"):
        causal.encoded([[1], [3]], [[4, 0], [5, 6, 0]], 3, "a set, train")


def test_a_tokenizer_without_padding_pads_with_the_end_and_one_without_an_end_is_refused(tmp_path, capsys):
    byte_tokenizer(["some text"], 300, 64, tmp_path)
    tokenizer = causal.read_tokenizer(tmp_path)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id is not None
    assert "no padding token" in capsys.readouterr().out
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({**settings, "eos_token": None, "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    with pytest.raises(UserError, match="has no end of text"):
        causal.read_tokenizer(tmp_path)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return byte_tokenizer(["ab cd ef gh "] * 4, 300, 64, tmp_path_factory.mktemp("letters"))


def test_what_is_learnt_of_a_completion_is_the_answer_and_its_end(letters):
    rows, counts = causal.completed(letters, ["ab cd:", "ab:"], ["ef gh", ""], 64, "cut", "answer")
    assert counts == {"cut": 0, "dropped": 0}
    for row, text, learnt in zip(rows, ("ab cd:ef gh", "ab:"), ("ef gh", ""), strict=True):
        assert letters.decode(row["input_ids"]) == text + letters.eos_token
        labels = [label for label in row["labels"] if label != causal.IGNORED]
        assert letters.decode(labels) == learnt + letters.eos_token
        assert row["labels"][-len(labels) :] == labels, "an answer is the end of its row"
    rows, _ = causal.completed(letters, ["ab cd:"], ["ef gh"], 64, "cut", "all")
    assert rows[0]["labels"] == [causal.IGNORED, *rows[0]["input_ids"][1:]], "the first token is never predicted"


def test_a_row_that_is_too_long_is_cut_or_dropped_and_counted(letters):
    prompts, answers = ["ab:", "ab:", "ab" * 20], ["ef", "ef gh " * 9, "cd"]
    rows, counts = causal.completed(letters, prompts, answers, 12, "cut", "answer")
    assert counts == {"cut": 1, "dropped": 1}, "where the prompt alone fills the row nothing is left to learn"
    assert len(rows) == 2 and len(rows[1]["input_ids"]) == 12
    assert letters.eos_token_id in rows[0]["labels"] and letters.eos_token_id not in rows[1]["labels"]
    rows, counts = causal.completed(letters, prompts, answers, 12, "drop", "answer")
    assert counts == {"cut": 0, "dropped": 2} and len(rows) == 1

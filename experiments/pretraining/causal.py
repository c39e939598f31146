"""A GPT-2 or a LLaMA, pre-trained on texts packed end to end into blocks; its tokenizer is made from them too."""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import (
    AutoModelForCausalLM,
    GPT2TokenizerFast,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Trainer,
)

from experiments.pretraining.training import Pretraining

END = "<|endoftext|>"  # GPT-2's one special token: it ends a text
MARKS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}  # LLaMA's, in the order of their ids


def byte_tokenizer(texts: Iterable[str], size: int, length: int, folder: Path) -> GPT2TokenizerFast:
    """GPT-2's kind of tokenizer, byte-level BPE, with `size` entries; left in `folder` and read again from there."""
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(texts, vocab_size=size, special_tokens=[END], show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    made.save_model(str(folder))
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, model_max_length=length)
    tokenizer.save_pretrained(folder)
    for file in ("vocab.json", "merges.txt"):
        (folder / file).unlink()  # both are in tokenizer.json
    return tokenizer


def marked_tokenizer(texts: Iterable[str], size: int, length: int, folder: Path) -> PreTrainedTokenizerFast:
    """LLaMA 3's kind of tokenizer: bytes as in GPT-2's, but a text begins with <s>. It does not get its </s> here."""
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(texts, vocab_size=size, special_tokens=[*MARKS.values()], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(made.to_str()), add_bos_token=True, model_max_length=length, **MARKS
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def blocks(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], length: int) -> Dataset:
    """Rows of `length` tokens, their own labels: the texts one after another, each with its end, without the rest."""
    ids = tokenizer.backend_tokenizer.encode_batch(list(texts))
    stream = list(chain.from_iterable([*text.ids, tokenizer.eos_token_id] for text in ids))
    rows = torch.tensor(stream[: len(stream) // length * length]).view(-1, length)
    return Dataset.from_dict({"input_ids": rows.numpy(), "labels": rows.numpy()}).with_format("torch")


TOKENIZERS = {"gpt2": byte_tokenizer, "llama": marked_tokenizer}  # by the model's type


def pretrain(
    train: Sequence[str],
    held_out: Sequence[str],
    config: PreTrainedConfig,
    out: Path,
    settings: dict[str, Any],
    bf16: bool,
) -> float:
    """Train a model of `config` and save it, in fp16, to `out`; returns its perplexity a token on the held-out texts.

    Goes on from a whole checkpoint in `out` of the same settings if there is one. `settings` are the Trainer's.
    """
    pretraining = Pretraining(config, out, settings, bf16)
    length = config.max_position_embeddings
    tokenizer = TOKENIZERS[config.model_type](train, config.vocab_size, length, out)
    trainer = Trainer(
        AutoModelForCausalLM.from_config(config),
        pretraining.arguments,
        train_dataset=blocks(tokenizer, train, length),
        eval_dataset=blocks(tokenizer, held_out, length),
    )
    loss = pretraining.train(trainer)["eval_loss"]
    pretraining.save(trainer.model)
    return math.exp(loss)

"""Pre-training of a GPT-2 or a LLaMA on texts packed into blocks, with a tokenizer made from the same texts."""

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

from experiments.pretraining.training import Order, Pretraining

END = "<|endoftext|>"  # GPT-2's only special token, at the end of a text
MARKS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}  # LLaMA's, in the order of their ids


def byte_tokenizer(texts: Iterable[str], size: int, length: int, folder: Path) -> GPT2TokenizerFast:
    """A byte-level BPE tokenizer like GPT-2's, with `size` entries, saved in `folder`."""
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(texts, vocab_size=size, special_tokens=[END], show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    made.save_model(str(folder))
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, model_max_length=length)
    tokenizer.save_pretrained(folder)
    for file in ("vocab.json", "merges.txt"):
        (folder / file).unlink()  # contained in tokenizer.json
    return tokenizer


def marked_tokenizer(texts: Iterable[str], size: int, length: int, folder: Path) -> PreTrainedTokenizerFast:
    """A tokenizer like LLaMA 3's: byte-level BPE, with <s> before each text but no </s> after it."""
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(texts, vocab_size=size, special_tokens=[*MARKS.values()], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(made.to_str()), add_bos_token=True, model_max_length=length, **MARKS
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def blocks(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], length: int) -> Dataset:
    """Rows of `length` tokens, which are also the labels: all texts in a row, each with its end, without the rest."""
    ids = tokenizer.backend_tokenizer.encode_batch(list(texts))
    stream = list(chain.from_iterable([*text.ids, tokenizer.eos_token_id] for text in ids))
    rows = torch.tensor(stream[: len(stream) // length * length]).view(-1, length)
    return Dataset.from_dict({"input_ids": rows.numpy(), "labels": rows.numpy()}).with_format("torch")


TOKENIZERS = {"gpt2": byte_tokenizer, "llama": marked_tokenizer}  # by the model's type


def pretrain(
    order: Order, train: Sequence[str], held_out: Sequence[str], config: PreTrainedConfig, **settings: Any
) -> dict[str, float]:
    """Train a model of `config` with these of `Order.settings`; returns its perplexity per token on the held-out texts.

    Resumes from a checkpoint in the order's folder, and leaves the model there in fp16; see `Pretraining`.
    """
    pretraining = Pretraining(order, config, order.settings(**settings))
    length = config.max_position_embeddings
    tokenizer = TOKENIZERS[config.model_type](train, config.vocab_size, length, order.out)
    trainer = Trainer(
        AutoModelForCausalLM.from_config(config),
        pretraining.arguments,
        train_dataset=blocks(tokenizer, train, length),
        eval_dataset=blocks(tokenizer, held_out, length),
    )
    loss = pretraining.train(trainer)["eval_loss"]
    pretraining.save(trainer.model)
    return {"perplexity": math.exp(loss)}

"""A GPT-2 or a LLaMA, pre-trained on texts packed end to end into blocks; its tokenizer is made from them too."""

import math
import shutil
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2TokenizerFast,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Trainer,
    set_seed,
)

from experiments.checkpoints import Manifests, to_resume
from experiments.pretraining.arguments import arguments, stamp

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


def gpt2(
    width: int, layers: int, heads: int, length: int, vocabulary: int, intermediate: int | None = None
) -> GPT2Config:
    """A small GPT-2 without dropout; between its blocks' two dense layers `intermediate` units, or 4 times `width`."""
    return GPT2Config(
        n_embd=width,
        n_inner=intermediate,
        n_layer=layers,
        n_head=heads,
        n_positions=length,
        vocab_size=vocabulary,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation="eager",
    )


def llama(width: int, layers: int, heads: int, length: int, vocabulary: int, intermediate: int) -> LlamaConfig:
    """A small LLaMA, two heads to a key and value head; its embeddings are its output layer too."""
    return LlamaConfig(
        hidden_size=width,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=length,
        vocab_size=vocabulary,
        tie_word_embeddings=True,
        initializer_range=0.06,  # LLaMA's 0.02 is for wide models
        bos_token_id=1,
        eos_token_id=2,
        attn_implementation="eager",
    )


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
    options, own = arguments(out, bf16, settings), stamp(config, bf16, settings)
    set_seed(options.seed)
    length = config.max_position_embeddings
    tokenizer = TOKENIZERS[config.model_type](train, config.vocab_size, length, out)
    trainer = Trainer(
        AutoModelForCausalLM.from_config(config),
        options,
        train_dataset=blocks(tokenizer, train, length),
        eval_dataset=blocks(tokenizer, held_out, length),
        callbacks=[Manifests(own)],
    )
    trainer.train(resume_from_checkpoint=to_resume(out, own))
    loss = trainer.evaluate()["eval_loss"]
    trainer.model.half().save_pretrained(out)
    for checkpoint in out.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return math.exp(loss)

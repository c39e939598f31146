"""What the tasks of causal language models share: the model, its tokenizer, rows of prompt and answer, their loss."""

import importlib.util
import math
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    EvalPrediction,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import ModelOutput

from experiments.errors import UserError
from experiments.models import pretrained
from experiments.models.language import Base, Learnt, Overlong
from experiments.processes import say

AT_ONCE = 1000  # texts to tokenise at a time: the positions of their tokens take much memory
IGNORED = -100  # the label of a token that is not learnt


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model. Where it has no padding token, as GPT-2's, the end of text pads, masked out.

    Raises UserError for one without an end of text.
    """
    tokenizer = pretrained.read_tokenizer(folder)
    if tokenizer.eos_token_id is None:
        raise UserError(f"{folder}: the tokenizer has no end of text; set eos_token in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        say(f"the tokenizer has no padding token: {tokenizer.eos_token} pads, masked out of attention and loss")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def language_model(
    folder: Path, attention: str, dropout: float | None, base: Base = "fp32", device: str = "cpu"
) -> nn.Module:
    """The model in a folder. dropout: everywhere in it; None keeps its own. base: the precision of its weights.

    4 bits are as in QLoRA (Dettmers et al. 2023): NF4, its constants quantised too, products in bf16; whatever is not a
    linear layer stays in float32. Raises UserError for dropout in an unknown type of model, and for 4 bits without
    bitsandbytes.
    """
    config = pretrained.read_config(folder, dropout)
    options: dict[str, Any] = {"dtype": torch.float32 if base == "fp32" else torch.bfloat16}
    if base == "4bit":
        if importlib.util.find_spec("bitsandbytes") is None:
            who = "task.base=4bit (of scripts.serve: --dtype 4bit)"
            raise UserError(f"{who}: needs bitsandbytes (pip install bitsandbytes); or choose bf16")
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        options["device_map"] = {"": device}
    model = pretrained.read_model(
        AutoModelForCausalLM, folder, (), config=config, attn_implementation=attention, **options
    )
    model.generation_config = GenerationConfig()  # the file's must not set what a call leaves out
    if base == "4bit":
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):  # else an evaluation on a CPU repacks the weight,
                module.support_avx512bf16_for_cpu = False  # which then passes no gradient
        model._hf_peft_config_loaded = True  # the Trainer refuses a quantised model without PEFT's adapters
    return model


def encoded(prompts: Sequence[list[int]], answers: Sequence[list[int]], longest: int, where: str) -> Dataset:
    """Rows of a prompt, of at least one token, and an answer, with labels on the answer alone.

    Raises UserError for a row of more than `longest` tokens.
    """
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        length = len(prompt) + len(answer)
        if length > longest:
            raise UserError(f"{where}, row {number}: {length} tokens, more than recipe.max_length={longest}; raise it")
        rows["input_ids"].append(prompt + answer)
        rows["labels"].append([IGNORED] * len(prompt) + answer)
    return Dataset.from_dict(rows)


def completed(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    answers: Sequence[str],
    longest: int,
    overlong: Overlong,
    learnt: Learnt,
) -> tuple[Dataset, dict[str, int]]:
    """Rows of prompt, answer and end of text. One of more than `longest` tokens is cut there, or dropped; a row without
    a token to learn is always dropped.

    Prompt and answer are tokenised as one text, as they are in use; a token belongs to the answer if it begins there.
    Also returned: how many rows were "cut" and how many "dropped".
    """
    texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    parts = (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))
    read = (tokenizer(part, return_offsets_mapping=True) for part in parts)
    tokens = chain.from_iterable(zip(part["input_ids"], part["offset_mapping"], strict=True) for part in read)
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    counts = {"cut": 0, "dropped": 0}
    for prompt, (ids, spans) in zip(prompts, tokens, strict=True):
        starts = chain((start for start, _ in spans), [len(prompt)])  # the end of text is the answer's
        ids = [*ids, tokenizer.eos_token_id]
        labels = [
            token if learnt == "all" or start >= len(prompt) else IGNORED
            for token, start in zip(ids, starts, strict=True)
        ]
        labels[0] = IGNORED  # never predicted, so it counts in no mean
        too_long = len(ids) > longest
        if (too_long and overlong == "drop") or all(label == IGNORED for label in labels[:longest]):
            counts["dropped"] += 1
            continue
        counts["cut"] += too_long
        rows["input_ids"].append(ids[:longest])
        rows["labels"].append(labels[:longest])
    return Dataset.from_dict(rows), counts


def smoothed(share: float) -> Callable[[ModelOutput, Tensor], Tensor]:
    """The mean cross-entropy of the labelled tokens, with a label smoothing of `share`."""

    def loss(outputs: ModelOutput, labels: Tensor) -> Tensor:
        learnt = labels[:, 1:] != IGNORED  # unlabelled tokens would cost as much memory
        logits, targets = outputs.logits[:, :-1][learnt].float(), labels[:, 1:][learnt]
        return cross_entropy(logits, targets, label_smoothing=share)

    return loss


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, tokens, vocabulary) -> (batch, tokens) float32: the cross-entropy of each token, 0 where unlabelled."""
    learnt = labels[:, 1:] != IGNORED
    losses = torch.zeros_like(labels, dtype=torch.float32)
    losses[:, 1:][learnt] = cross_entropy(logits[:, :-1][learnt].float(), labels[:, 1:][learnt], reduction="none")
    return losses


def perplexity(outputs: EvalPrediction) -> dict[str, float]:
    """The mean loss of the labelled tokens, in nats and without label smoothing, and exp(-loss): the geometric mean of
    their probabilities, a fraction."""
    labelled = outputs.label_ids != IGNORED
    loss = float(outputs.predictions[labelled].astype(np.float64).mean())
    return {"loss": loss, "inverse_perplexity": math.exp(-loss)}

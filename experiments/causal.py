"""What the tasks of causal language models share: the model, its tokenizer, rows of prompt and answer, their loss."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, EvalPrediction, PreTrainedTokenizerBase
from transformers.utils import ModelOutput

from experiments.dropout import dropout_settings
from experiments.errors import UserError

IGNORED = -100  # the label of a token that is not to be learnt
Loss = Callable[..., Tensor]


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model. Where it has no padding (GPT-2's has none) the end of a text pads, out of attention.

    Raises UserError for one without an end of text.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise UserError(f"{folder}: the tokenizer has no end of text; set eos_token in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        print(f"the tokenizer has no padding token: {tokenizer.eos_token} pads, masked out of attention and loss")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def language_model(folder: Path, attention: str, dropout: float | None) -> nn.Module:
    """The model in a folder, float32. dropout: everywhere in it; None is its own. Raises UserError where unknown."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    config.update(dropout_settings(config.model_type, dropout))
    return AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32, attn_implementation=attention, local_files_only=True
    )


def encoded(prompts: Sequence[list[int]], answers: Sequence[list[int]], longest: int, where: str) -> Dataset:
    """Rows of prompt and answer, with labels on the answer alone. Raises UserError for one of more than `longest`."""
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        length = len(prompt) + len(answer)
        if length > longest:
            raise UserError(f"{where}, row {number}: {length} tokens, more than recipe.max_length={longest}; raise it")
        rows["input_ids"].append(prompt + answer)
        rows["labels"].append([IGNORED] * len(prompt) + answer)
    return Dataset.from_dict(rows)


def smoothed(share: float) -> Loss:
    """The mean cross-entropy of the labelled tokens with label smoothing: `share` of the truth goes to every token."""

    def loss(outputs: ModelOutput, labels: Tensor, num_items_in_batch: int | Tensor | None = None) -> Tensor:
        """num_items_in_batch: labelled tokens of the whole step, where it takes several batches."""
        learnt = labels[:, 1:] != IGNORED  # the others would cost as much memory
        logits, targets = outputs.logits[:, :-1][learnt].float(), labels[:, 1:][learnt]
        total = cross_entropy(logits, targets, label_smoothing=share, reduction="sum")
        return total / (len(targets) if num_items_in_batch is None else num_items_in_batch)

    return loss


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, tokens, vocabulary) -> (batch, tokens) float32: the cross-entropy of each token, 0 where unlabelled."""
    learnt = labels[:, 1:] != IGNORED
    losses = torch.zeros_like(labels, dtype=torch.float32)
    losses[:, 1:][learnt] = cross_entropy(logits[:, :-1][learnt].float(), labels[:, 1:][learnt], reduction="none")
    return losses


def inverse_perplexity(outputs: EvalPrediction) -> dict[str, float]:
    """exp(-mean loss) of the labelled tokens: the geometric mean of their probabilities, a fraction."""
    labelled = outputs.label_ids != IGNORED
    return {"inverse_perplexity": float(np.exp(-outputs.predictions[labelled].astype(np.float64).mean()))}

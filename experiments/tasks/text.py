"""What the tasks share in which a model learns to go on behind a prompt."""

from typing import Any

from datasets import Dataset
from torch import nn
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase

from experiments.data.assets import Model
from experiments.errors import UserError
from experiments.models import causal
from experiments.settings import Recipe
from experiments.tasks.base import Prepared


def longest_row(recipe: Recipe, model: Model, network: nn.Module) -> int:
    """recipe.max_length, or all that the model reads. Raises UserError where it reads less."""
    longest = network.config.max_position_embeddings
    if (recipe.max_length or 0) > longest:
        raise UserError(f"recipe.max_length={recipe.max_length}: {model.name} reads at most {longest}; choose fewer")
    return recipe.max_length or longest


def prepared(
    network: nn.Module, tokenizer: PreTrainedTokenizerBase, encoded: dict[str, Dataset], smoothing: float, score: Any
) -> Prepared:
    """Rows of `input_ids` and `labels`, judged by the probability of their labelled tokens; then `score`, on texts."""
    return Prepared(
        model=network,
        train=encoded["train"],
        validation=encoded["validation"],
        collate=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=causal.IGNORED),
        metrics=causal.perplexity,
        primary="inverse_perplexity",
        direction="max",
        loss=causal.smoothed(smoothing),
        reduce=causal.token_losses,
        test=encoded.get("test"),
        score=score,
        shown="last",
    )

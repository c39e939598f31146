"""What the tasks share in which a model learns to continue a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.data.assets import Model, Source
from experiments.settings import Recipe, Train
from experiments.tasks.base import Prepared, row_length

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from experiments.models.language import Base
    from experiments.tracking import Tracker


def read_language_model(
    model: Model, weights: Source, train: Train, recipe: Recipe, base: Base = "fp32"
) -> tuple[PreTrainedTokenizerBase, nn.Module, int]:
    """The tokenizer, the model, and the most tokens of a row: recipe.max_length, or all that the model reads.

    Raises UserError where it reads less, and as `causal.read_tokenizer` and `causal.language_model` do.
    """
    from experiments.models import causal

    folder = weights.files["config.json"].parent
    tokenizer = causal.read_tokenizer(folder)
    network = causal.language_model(folder, train.attention_kernel(), model.dropout, base, train.torch_device())
    return tokenizer, network, row_length(recipe, model, network.config.max_position_embeddings)


def prepared(
    network: nn.Module, tokenizer: PreTrainedTokenizerBase, encoded: dict[str, Dataset], smoothing: float, score: Any
) -> Prepared:
    """Rows of `input_ids` and `labels`, evaluated by the probability of labelled tokens; `score`: by written texts."""
    from transformers import DataCollatorForSeq2Seq

    from experiments.models import causal

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


def show_tables(tables: dict[str, tuple[list[str], list[list[Any]]]], folder: Path, tracker: Tracker) -> None:
    """Track tables, each of columns and rows. A list of texts in a cell is shown one per line."""
    for name, (columns, rows) in tables.items():
        tracker.table(name, columns, [["\n".join(c) if isinstance(c, list) else c for c in row] for row in rows])

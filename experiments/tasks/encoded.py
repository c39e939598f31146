"""What tasks of sentences do: rows of tokens, an encoder with a head for classes or for a score, its metrics."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import ClassLabel, Dataset
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedTokenizerBase,
)
from transformers.utils import ModelOutput

from experiments import processes
from experiments.data.assets import Model, Source
from experiments.metrics.glue import Glue
from experiments.models.pretrained import read_config, read_model, read_tokenizer
from experiments.settings import Recipe, Train
from experiments.tasks.base import (
    Loss,
    Merged,
    Predict,
    Prepared,
    Splits,
    Tested,
    class_loss,
    evaluated,
    row_length,
)


def prepared(
    name: str,
    inputs: Sequence[str],
    model: Model,
    weights: Source,
    splits: Splits,
    train: Train,
    recipe: Recipe,
    metrics: str,
    primary: str,
) -> Prepared:
    """As `SentenceTask.prepare_as`, for the task of this name, with the texts in the columns `inputs`."""
    folder = weights.files["config.json"].parent
    kind = splits["train"].features["label"]
    names = kind.names if isinstance(kind, ClassLabel) else ()
    tokenizer = read_tokenizer(folder)
    encoder = _encoder(model, folder, train, names)
    if tokenizer.pad_token is None:  # a decoder's: masked out of attention
        tokenizer.pad_token = tokenizer.eos_token
        encoder.config.pad_token_id = tokenizer.pad_token_id
    own = getattr(encoder.config, "max_position_embeddings", tokenizer.model_max_length)
    longest = row_length(recipe, model, min(tokenizer.model_max_length, own))
    encode = functools.partial(_encode, inputs=inputs, tokenizer=tokenizer, max_length=longest)
    encoded = {
        split: rows.map(encode, batched=True, remove_columns=rows.column_names, desc=f"tokenising {split}")
        for split, rows in splits.items()
    }
    for split, rows in encoded.items():
        if cut := pc.sum(pc.equal(pc.list_value_length(rows.data.column("input_ids")), longest)).as_py():
            processes.say(f"{name}, {split}: {cut} of {len(rows)} rows have {longest} tokens or more: cut there")
    loss = class_loss if names else _score_loss
    return Prepared(
        model=encoder,
        train=encoded["train"],
        validation=encoded["validation"],
        test=encoded.get("test"),
        collate=DataCollatorWithPadding(tokenizer),
        metrics=functools.partial(_scores, Glue(config_name=metrics), loss),
        primary=primary,
        direction="max",
        loss=loss,
        score=functools.partial(_test, encoded["test"]) if "test" in encoded else None,
    )


def _encode(
    rows: dict[str, list], inputs: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, list]:
    encoded = tokenizer(*(rows[column] for column in inputs), truncation=True, max_length=max_length)
    encoded["labels"] = rows["label"]
    return encoded


def _encoder(model: Model, folder: Path, train: Train, names: Sequence[str]) -> nn.Module:
    """The model with a new head: an output for each class, or one for a score."""
    labels = {"num_labels": 1, "problem_type": "regression"}
    if names:
        labels = {"id2label": dict(enumerate(names)), "label2id": {name: label for label, name in enumerate(names)}}
    config = read_config(folder, model.dropout, **labels)
    options = {"dtype": torch.float32, "attn_implementation": train.attention_kernel()}
    return read_model(AutoModelForSequenceClassification, folder, model.head, config=config, **options)


def _score_loss(outputs: ModelOutput, labels: Tensor) -> Tensor:
    """The mean squared error of logits (rows, 1) and scores (rows,)."""
    return mse_loss(outputs.logits.squeeze(-1), labels)


def _scores(metric: Glue, loss: Loss, outputs: EvalPrediction) -> dict[str, float]:
    logits = outputs.predictions
    predictions = np.argmax(logits, axis=-1) if loss is class_loss else logits.squeeze(-1)
    return {**evaluated(loss, outputs), **metric.compute(predictions=predictions, references=outputs.label_ids)}


def _test(rows: Dataset, model: nn.Module, predict: Predict, folder: Path, merged: Merged) -> Tested:
    return Tested(predict(rows).metrics, lambda folder, tracker: None)

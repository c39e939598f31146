"""A training step without the Trainer: batches of the first rows of the training set, and their loss."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from experiments.config import Config
from experiments.measure import memory
from experiments.tasks.base import Prepared
from experiments.training import rows_at_once


def batches(config: Config, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Batches of successive rows from the first on, each of what a forward pass takes at once, on the device."""
    rows, device = prepared.train, config.train.torch_device()
    size = min(rows_at_once(config), len(rows))
    for start in range(0, len(rows) - size + 1, size):
        yield prepared.collate([rows[i] for i in range(start, start + size)]).to(device)


def loss(config: Config, prepared: Prepared, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """The loss of a batch, with the method's penalty, as training computes it."""
    inputs = {key: value for key, value in batch.items() if key != "labels"}  # or the model computes a loss of its own
    with config.train.autocast():
        return prepared.loss(model(**inputs), batch["labels"]) + config.method.penalty(model)


def saved_bytes(config: Config, prepared: Prepared, model: nn.Module) -> int:
    """Bytes that a training step on the first rows of the training set saves for its backward pass."""
    batch = next(batches(config, prepared))
    return memory.saved_for_backward(model.train(), lambda: loss(config, prepared, model, batch))

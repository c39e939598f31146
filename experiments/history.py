"""The Trainer's log and predictions, as a record's metrics have them."""

import statistics
from typing import Any

from transformers.trainer_utils import PredictionOutput

TIMING = ("runtime", "samples_per_second", "steps_per_second", "primary")  # the Trainer's own beside the metrics

Log = list[dict[str, Any]]


def evaluations(log: Log) -> Log:
    """The entries of validation, one an epoch."""
    return [entry for entry in log if "eval_loss" in entry]


def per_epoch(log: Log, primary: str) -> list[dict[str, float]]:
    """The metrics of each epoch: its number, the loss, the primary one, the others by name, and the training loss."""
    found = evaluations(log)
    measured = {key.removeprefix("eval_") for key in found[0] if key.startswith("eval_")}
    names = ("loss", primary, *sorted(measured - {"loss", primary, *TIMING}))
    return [
        {"epoch": round(entry["epoch"]), **{name: entry[f"eval_{name}"] for name in names}, "train_loss": loss}
        for entry, loss in zip(found, train_losses(log), strict=True)
    ]


def train_losses(log: Log) -> list[float]:
    """The mean training loss of each epoch's steps, from means over the steps between one entry and the next."""
    found, losses, steps, last = [], [], [], 0
    for entry in log:
        if "loss" in entry:
            losses.append(entry["loss"])
            steps.append(entry["step"] - last)
            last = entry["step"]
        elif "eval_loss" in entry:
            found.append(statistics.fmean(losses, steps))
            losses, steps = [], []
    return found


def predicted(output: PredictionOutput) -> PredictionOutput:
    """A prediction with the metrics under their own names, without the Trainer's timing."""
    metrics = {key.removeprefix("test_"): value for key, value in output.metrics.items()}
    return output._replace(metrics={key: value for key, value in metrics.items() if key not in TIMING})

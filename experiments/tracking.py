"""Weights & Biases, or nothing: two trackers with the same methods, so that no caller asks which."""

import os
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import TrainerCallback

from experiments import processes
from experiments.record.parts import Tracked
from experiments.settings import Tracking


class Tracker:
    """Base of the trackers: tracks nothing."""

    def scale(self, name: str) -> None:
        """The scale of the run, which is known once its data are read."""

    def log(self, values: dict[str, Any], step: int) -> None:
        """Values of one optimiser step."""

    def summary(self, values: dict[str, Any]) -> None:
        """Values of the run as a whole."""

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """A table of the run; its cells may be pictures (PIL)."""

    def image(self, name: str, path: Path) -> None:
        """A picture of the run."""

    def finish(self, failed: bool = False) -> None:
        """End the run."""

    def identity(self) -> Tracked:
        """What the record says of it."""
        return Tracked(mode="off")


class WandB(Tracker):
    """A W&B run: offline files below the run's folder, or the cloud.

    goes_on: in the W&B run whose files are in the folder, if there is one, instead of a new one. about: what
    `wandb.init` takes besides: name, group, job_type, tags, config.
    """

    def __init__(self, settings: Tracking, folder: Path, goes_on: bool, **about: Any):
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb  # seconds to import, and not needed where tracking is off

        self.wandb = wandb
        earlier = _newest(folder / "wandb") if goes_on else None
        self.run = wandb.init(**settings.model_dump(), dir=str(folder), id=earlier, resume="allow", **about)
        self.mode = settings.mode

    def scale(self, name: str) -> None:
        self.run.tags += (name,)
        self.run.config.update({"scale": name}, allow_val_change=True)

    def log(self, values: dict[str, Any], step: int) -> None:
        self.run.log(values, step=step)

    def summary(self, values: dict[str, Any]) -> None:
        self.run.summary.update(values)

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        cells = [[self.wandb.Image(cell) if isinstance(cell, Image.Image) else cell for cell in row] for row in rows]
        self.run.log({name: self.wandb.Table(columns=columns, data=cells)})

    def image(self, name: str, path: Path) -> None:
        self.run.log({name: self.wandb.Image(str(path))})

    def finish(self, failed: bool = False) -> None:
        self.run.finish(exit_code=int(failed))

    def identity(self) -> Tracked:
        folder = Path(self.run.dir).parent.name
        return Tracked(mode=self.mode, id=self.run.id, path=self.run.url or folder)


class Curves(TrainerCallback):
    """Sends the Trainer's logs to a tracker, training and validation apart."""

    def __init__(self, tracker: Tracker):
        self.tracker = tracker

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.tracker.log({_curve(key): value for key, value in logs.items()}, step=state.global_step)


def _curve(key: str) -> str:
    """The curve of one of the Trainer's values: eval_loss is validation/loss, loss is train/loss."""
    if key in ("epoch", "seconds"):
        return key
    return f"validation/{key.removeprefix('eval_')}" if key.startswith("eval_") else f"train/{key}"


def _newest(folder: Path) -> str | None:
    """The id of the newest W&B run in a folder, whose files lie in run-<time>-<id> or offline-run-<time>-<id>."""
    found = sorted(path.name.partition("run-")[2] for path in folder.glob("*run-*-*"))
    return found[-1].rpartition("-")[2] if found else None


def start(settings: Tracking, folder: Path, goes_on: bool, **about: Any) -> Tracker:
    """The tracker of a run, as `WandB` takes it; of several processes the first alone tracks."""
    off = settings.mode == "off" or not processes.is_first()
    return Tracker() if off else WandB(settings, folder, goes_on, **about)

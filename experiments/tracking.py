"""Weights & Biases, or nothing: two objects with the same methods, so that no caller asks which."""

import os
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import TrainerCallback

from experiments.settings import Tracking


class Off:
    """Tracks nothing."""

    mode = "off"

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

    def identity(self) -> dict[str, Any]:
        """What the record says of it."""
        return {"mode": self.mode, "id": None, "path": None}


class WandB(Off):
    """A W&B run: offline files below the run's folder, or the cloud."""

    def __init__(self, mode: str, project: str, entity: str | None, folder: Path, name: str, group: str, config: dict):
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb  # seconds to import, and not needed where tracking is off

        self.wandb, self.mode = wandb, mode
        self.run = wandb.init(
            mode=mode, project=project, entity=entity, dir=str(folder), name=name, group=group, config=config
        )

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

    def identity(self) -> dict[str, Any]:
        folder = Path(self.run.dir).parent.name
        return {"mode": self.mode, "id": self.run.id, "path": self.run.url or folder}


class Curves(TrainerCallback):
    """Sends the Trainer's logs to a tracker, training and validation apart."""

    def __init__(self, tracker: Off):
        self.tracker = tracker

    def on_log(self, args, state, control, logs=None, **kwargs):
        named = {
            f"validation/{key[5:]}"
            if key.startswith("eval_")
            else key
            if key in ("epoch", "seconds")
            else f"train/{key}": value
            for key, value in logs.items()
        }
        self.tracker.log(named, step=state.global_step)


def start(settings: Tracking, folder: Path, name: str, group: str, config: dict) -> Off:
    """The tracker of a run."""
    if settings.mode == "off":
        return Off()
    return WandB(settings.mode, settings.project, settings.entity, folder, name, group, config)

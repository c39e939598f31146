"""What an earlier call, or another process, left of a run: its record, its failure, its lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from experiments import processes, work
from experiments import record as records
from experiments.config import Config
from experiments.data.assets import Source
from experiments.errors import Diverged
from experiments.locks import held
from experiments.record import Record
from experiments.tasks.base import Data


def done(config: Config, weights: Source, data: Data) -> Record | None:
    """The record of this run, if it may stand: with force, only that of another worker of the same command.

    It gets the number of trials that are behind its rates by now: a search that went on may have found them again.
    """
    path = config.record_path
    if not path.exists() or (config.force and not work.left_meanwhile(path)):
        return None
    found, trials = records.read(path), config.recipe.trials
    if (found.model.sha256, found.dataset.sha256) != (weights.sha256, data.sha256):
        processes.say(f"the model or the data changed since {path}: running again")
        return None
    processes.say(f"done before: {path} (force=true repeats it)")
    if trials not in (None, found.trials):
        found = found.model_copy(update={"trials": trials})
        if processes.is_first():
            records.write(found, path)
    return found


def check_not_failed(path: Path) -> None:
    """Raise what another worker of the same command has met in the run with this record."""
    failed = path.with_suffix(".failed.json")
    if not work.left_meanwhile(failed) or (older := records.read(failed)).status == "cancelled":
        return
    kind, _, told = str(older.error).partition(": ")
    known = {one.__name__: one for one in (torch.OutOfMemoryError, Diverged)}
    raise known.get(kind, work.FailedMeanwhile)(f"{told or kind} (another worker, {failed})")


def was_interrupted(path: Path) -> bool:
    """Whether the last call of the run with this record was: its checkpoints are to go on from, also with force."""
    failed = path.with_suffix(".failed.json")
    return failed.exists() and records.read(failed).status == "cancelled"


@contextmanager
def alone(folder: Path, path: Path) -> Iterator[None]:
    """Lock `folder` within the context, and remove the temporary files that a killed run left.

    Raises UserError where another run holds the lock, or where `folder` or the record's folder cannot be written to.
    """
    if not processes.is_first():  # the first process locks for all
        yield
        return
    records.check_writable(folder, "runs")
    records.check_writable(path.parent, "record.dir")
    with held(folder.with_suffix(".lock"), "wait for its end, or end it"):
        for left in (*folder.rglob(".*.tmp"), *path.parent.glob(f".{path.stem}.*.tmp")):
            left.unlink()
        yield

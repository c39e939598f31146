"""Checkpoints that can be verified: the file written last has the digests of all others and the stamp of the run.

The Trainer resumes from whatever it finds: it ignores a missing file and trusts a damaged one. So it is given a
checkpoint only if that is complete and has the run's stamp, and so has the best one that it refers to.
"""

import shutil
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from transformers import TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_NAME

from experiments import processes
from experiments import record as records
from experiments.data.assets import sha256
from experiments.errors import UserError

MANIFEST = "manifest.json"
REMEDY = "train.resume=false starts from the beginning"

Stamp = dict[str, str | None]  # what the numbers of a run depend on; "code" is the commit


class Manifest(records.Document):
    """The last file of a checkpoint: the stamp of its run, and the SHA-256 of each other file by its name."""

    stamp: Stamp
    files: dict[str, str]

    @property
    def place(self) -> str:
        return MANIFEST


class Fault(UserError):
    """A checkpoint is incomplete, damaged, or another run's."""


class Manifests(TrainerCallback):
    """Completes each checkpoint with its manifest, and only then removes older ones.

    Kept are the newest, the best and the previous best: so the last two checkpoints have the best ones that they refer
    to.
    """

    def __init__(self, stamp: Stamp):
        self.stamp = stamp

    def on_train_begin(self, args, state, control, **kwargs):
        self.best = state.best_global_step

    def on_save(self, args, state, control, **kwargs):
        processes.wait()  # each process writes its own random state
        if processes.is_first():
            folder = Path(args.output_dir)
            newest = _path(folder, state.global_step)
            records.write(Manifest(stamp=self.stamp, files=_digests(newest)), newest / MANIFEST)
            _keep(folder, {state.global_step, state.best_global_step, self.best})
        self.best = state.best_global_step


def to_resume(folder: Path, stamp: Stamp, resume: bool = True) -> Path | None:
    """The newest checkpoint in `folder` from which a run with this stamp can resume; None where there is none.

    Prints which newer ones are passed over, and why, and removes them; without `resume`, removes all. Collective: every
    process calls it, after a Trainer was made. Raises UserError, and removes nothing, where only the code differs: the
    user decides whether to return to that code or to start from the beginning.
    """
    if processes.is_first():
        _keep(folder, range(1 + _resumable(folder, stamp)) if resume else ())
    processes.wait()
    return next(iter(_all(folder).values()), None)


def can_resume(folder: Path, stamp: Stamp) -> bool:
    """Whether `to_resume` will find a checkpoint."""
    with suppress(UserError):
        return _resumable(folder, stamp, tell=lambda _: None) >= 0
    return False


def load_trained(model: nn.Module, checkpoint: Path) -> None:
    """Load a checkpoint's parameters into `model`. Raises UserError unless they are exactly those that train."""
    try:
        _check(checkpoint)
    except Fault as fault:
        raise UserError(f"{fault}; run again to go on from an older one, or from the beginning") from fault
    state = load_file(checkpoint / SAFE_WEIGHTS_NAME)
    trained = {name: (p.shape, p.dtype) for name, p in model.named_parameters() if p.requires_grad}
    if wrong := _different(trained, {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}):
        raise UserError(f"{checkpoint}: {wrong}: missing, of another shape or dtype, or unknown; {REMEDY}")
    model.load_state_dict(state, strict=False)


def _resumable(folder: Path, stamp: Stamp, tell: Callable[[str], None] = print) -> int:
    """The step of the newest checkpoint that can be resumed; -1 where there is none. tell: of those passed over."""
    found = _all(folder)
    for step, path in found.items():
        try:
            best = _check(path, stamp).best_global_step or step
            if best != step:
                _check(_path(folder, best), stamp)
        except Fault as fault:
            tell(f"{path.name} is passed over: {fault}")
        else:
            return step
    if found:
        tell(f"{folder} has no checkpoint to go on from: starting from the beginning")
    return -1


def _check(checkpoint: Path, stamp: Stamp | None = None) -> TrainerState:
    """The Trainer's state in a complete checkpoint. Raises Fault where it is incomplete, damaged or has another stamp;
    UserError where the stamp differs in the code alone."""
    if not (checkpoint / MANIFEST).exists():
        raise Fault(f"{checkpoint} was not finished")
    try:
        manifest = records.read(checkpoint / MANIFEST, Manifest)
        if wrong := _different(manifest.files, _digests(checkpoint)):
            raise Fault(f"{checkpoint} is damaged ({wrong})")
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    except (OSError, records.RecordError) as error:
        raise Fault(f"{checkpoint} is damaged ({error})") from error
    if checkpoint != _path(checkpoint.parent, state.global_step):
        raise Fault(f"{checkpoint} is that of step {state.global_step} under another name")
    other = _different(manifest.stamp, stamp or manifest.stamp)
    if other == "code":
        then, now = manifest.stamp["code"], stamp["code"]
        raise UserError(f"{checkpoint}: written by code {then}, this is {now}: return to that code, or {REMEDY}")
    if other:
        raise Fault(f"{checkpoint} is of a run with another {other}")
    return state


def _digests(checkpoint: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in checkpoint.iterdir() if path.is_file() and path.name != MANIFEST}


def _different(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The keys whose values differ, in one line; empty where none do."""
    return ", ".join(sorted(key for key in {**one, **other} if one.get(key) != other.get(key)))


def _keep(folder: Path, steps: Container[int | None]) -> None:
    for step, path in _all(folder).items():
        if step not in steps:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _all(folder: Path) -> dict[int, Path]:
    """The checkpoints by their step, newest first."""
    named = ((path.name.removeprefix("checkpoint-"), path) for path in folder.glob("checkpoint-*"))
    return dict(sorted(((int(step), path) for step, path in named if step.isdecimal()), reverse=True))


def _path(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step}"

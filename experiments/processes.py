"""The processes of one run, one or, by torchrun, several: one device each. Only the first writes."""

import os


def count() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", 1))


def count_here() -> int:
    """The number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def index() -> int:
    """The index of this process, from 0."""
    return int(os.environ.get("RANK", 0))


def is_first() -> bool:
    """Whether this process writes records, adapters and plots, and tracks."""
    return index() == 0


def say(text: str) -> None:
    """Print on the first process alone."""
    if is_first():
        print(text)


def take_device(device: str) -> None:
    """Where `device` is cuda, select the GPU of this process."""
    import torch  # here: records are read without it

    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))


def wait() -> None:
    """Barrier across processes; to be called after a Trainer was made."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()

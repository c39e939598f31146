"""The processes of one run, where torchrun started several: each has one device, and the first alone writes."""

import os


def count() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", 1))


def count_here() -> int:
    """How many there are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def index() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", 0))


def is_first() -> bool:
    """Whether this is the one that writes records, adapters and plots, and tracks."""
    return index() == 0


def say(text: str) -> None:
    """Print it once, by the first."""
    if is_first():
        print(text)


def take_device(device: str) -> None:
    """Where `device` is cuda, make the GPU of this process the one that it means."""
    import torch  # here, so that records are read without it

    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))


def wait() -> None:
    """Until all are here. Once a Trainer has brought them together."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()

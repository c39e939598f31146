"""The base of the records of timings: of training steps (bench), and of their parts (micro)."""

from typing import Any, Literal

from pydantic import Field, PositiveFloat, model_validator

from experiments.errors import UserError
from experiments.record import Measured, Part

DEVICES = {"small": "cpu", "full": "cuda", "compiled": "cpu"}  # of each set of measurements


def device_of(chosen: str) -> str:
    """The device of a set of measurements. Raises UserError if it is missing."""
    import torch

    if DEVICES[chosen] == "cuda" and not torch.cuda.is_available():
        raise UserError(f"the {chosen} set needs a CUDA device, and torch sees none; --set small runs on the CPU")
    return DEVICES[chosen]


def default_set() -> str:
    """full if there is a GPU, else small."""
    import torch

    return "full" if torch.cuda.is_available() else "small"


class Timed(Part):
    """The seconds of one step, one value per round, or the error that it ended with."""

    status: Literal["ok", "failed", "oom"]
    error: str | None = None
    seconds: list[PositiveFloat] = Field(default=[])

    @model_validator(mode="after")
    def _status_tells_the_truth(self) -> "Timed":
        if (self.status == "ok") != (self.error is None) or (self.status == "ok") != bool(self.seconds):
            raise ValueError(f"status {self.status!r} needs {'seconds' if self.status == 'ok' else 'an error'}, alone")
        return self

    @classmethod
    def ended(cls, error: Exception, **about: Any) -> "Timed":
        """A step that ran out of memory, or failed, with this error."""
        from experiments.measure import memory

        status = "oom" if memory.ran_out(error) else "failed"
        return cls(**about, status=status, error=f"{type(error).__name__}: {error}")


class Timings(Measured):
    """The timings of one set on one machine."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    set: Literal["small", "full", "compiled"]

    @property
    def device(self) -> str:
        """The GPU, or else the CPU."""
        return self.hardware.gpu or self.hardware.cpu

    @property
    def machine(self) -> str:
        """What times depend on: the device and torch's version."""
        return f"{self.device}, torch {self.versions.get('torch', 'of unknown version')}"

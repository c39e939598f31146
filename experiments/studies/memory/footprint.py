"""What a training step of one method needs on each GLUE task: exact bytes on any machine, peak and time on a GPU.

The step is counted at full size on the meta device, without weights and without the memory, as a GPU would run it.
"""

import gc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, JsonValue, model_validator
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, RobertaConfig

from experiments.measure import memory
from experiments.measure.bench import Entry
from experiments.measure.timing import interleave
from experiments.methods.base import Method
from experiments.record import Count, Measured, Natural, Part, compare

FLOAT = 4  # bytes of a float32


# Task, in the page's order -> tokens of its longest training row by RoBERTa's tokenizer, which causes a run's peak;
# None if not all rows were counted.
TASKS = {"mrpc": 102, "cola": 47, "qnli": None, "sst2": 67, "rte": 292, "stsb": 126}


class Step(Part):
    """One method on one task: `batch` sequences of `tokens`, all of one length.

    weight_bytes: of every parameter and buffer, trained or not. trained: parameters, the head included. saved_bytes:
    kept for the backward pass. gpu: what a GPU measured; its `peak_bytes` are all that was allocated at most.
    """

    batch: Natural
    tokens: Natural
    settings: dict[str, JsonValue]
    weight_bytes: Count
    trained: Count
    saved_bytes: Count
    gpu: Entry | None = None

    @property
    def gradient_bytes(self) -> int:
        """One float32 per trained parameter."""
        return FLOAT * self.trained

    @property
    def state_bytes(self) -> int:
        """AdamW's two moments per trained parameter, float32."""
        return 2 * FLOAT * self.trained

    @property
    def least_bytes(self) -> int:
        """The least that a step holds: the weights, the optimizer's states, and the larger of what it saved (at the
        end of the forward pass) and the gradients (at the end of the backward pass). The peak adds the workspace."""
        return self.weight_bytes + self.state_bytes + max(self.saved_bytes, self.gradient_bytes)


class Footprint(Measured):
    """The steps of one method, by task: float32, eager attention, dropout as in training."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    method: str
    model: str
    steps: dict[str, Step]

    @model_validator(mode="after")
    def _has_every_task(self) -> "Footprint":
        compare("the tasks of steps", list(self.steps), list(TASKS))
        return self

    @property
    def place(self) -> str:
        return f"{self.method}.json"

    @property
    def title(self) -> str:
        """The method, marked if the code was not at a clean commit."""
        return self.method + self.mark

    @property
    def machine(self) -> str | None:
        """The GPU that measured peaks and times; None if there was none."""
        return self.hardware.gpu if any(step.gpu for step in self.steps.values()) else None


@dataclass(frozen=True)
class Case:
    """A training step: a RoBERTa with one class (a regression) or several, adapted by `method`, on a batch of sequences
    that all have the length of the longest."""

    method: Method
    config: RobertaConfig
    attention: tuple[str, ...]
    head: tuple[str, ...]
    batch: int
    tokens: int

    def build(self, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
        """The adapted model, in training mode with random weights, and its forward pass, which returns the loss."""
        with torch.device(device):
            model = AutoModelForSequenceClassification.from_config(
                self.config, dtype=torch.float32, attn_implementation="eager"
            )
            ids = torch.full((self.batch, self.tokens), 2)  # RoBERTa's padding is 1
            labels = torch.zeros(self.batch, dtype=torch.float32 if self.config.num_labels == 1 else torch.long)
        # On the meta device adapters must be made there: what moves modules moves numbers, and there are none.
        with torch.device(device) if device == "meta" else nullcontext():
            model = self.method.adapt(model, self.attention, self.head).train()
        return model, lambda: model(input_ids=ids, labels=labels).loss

    def exact(self) -> Step:
        """The bytes of the step on a GPU, counted without one."""
        model, forward = self.build("meta")
        with memory.AsOnGpu():
            saved = memory.saved_for_backward(model, forward)
        return Step(
            batch=self.batch,
            tokens=self.tokens,
            settings=self.method.model_dump(exclude={"name"}),
            weight_bytes=sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())),
            trained=sum(parameter.numel() for parameter in _trained(model)),
            saved_bytes=saved,
        )

    def measured(self, rounds: int, device: str = "cuda") -> Entry:
        """Peak and seconds of the step on the GPU, AdamW included; running out of memory is a result."""
        gc.collect()  # the case before
        try:
            model, forward = self.build(device)
            optimizer = torch.optim.AdamW(_trained(model))

            def step() -> None:
                forward().backward()
                optimizer.step()
                optimizer.zero_grad()
                if device == "cuda":
                    torch.cuda.synchronize()

            saved = memory.saved_for_backward(model, forward)
            step()  # makes the optimizer's states
            memory.start_peak(device)
            step()
            peak = memory.peak(device)
            seconds = interleave({"step": step}, rounds, _raise)["step"]
        except Exception as error:
            if not memory.ran_out(error):
                raise
            return Entry(status="oom", error=f"{type(error).__name__}: {error}")
        return Entry(status="ok", seconds=seconds, saved_bytes=saved, peak_bytes=peak)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _raise(name: str, error: Exception) -> None:
    raise error

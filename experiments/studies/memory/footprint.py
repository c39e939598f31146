"""What a training step of one method needs on each GLUE task: exact bytes on any machine, peak and time on a GPU."""

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from experiments.measure.bench import Entry
from experiments.record import Count, Measured, Natural, Part, compare

OURS, GRID, LORA, PEFT = "fourierft", "fourierft_grid", "lora", "peft_fourierft"
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

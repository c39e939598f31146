"""A training step of one method on one GLUE task, counted at full size on the meta device, without weights and without
the memory, as a GPU would run it; and measured on one."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import peft
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, RobertaConfig

from experiments import record
from experiments.config import Config, load
from experiments.measure import memory
from experiments.measure.bench import Entry
from experiments.measure.timing import interleave
from experiments.methods.base import Method
from experiments.methods.by_peft import ByPeft
from experiments.models import architectures
from experiments.studies.memory.footprint import GRID, OURS, PEFT, TASKS, Footprint, Step

MODEL = "roberta_large"
ROUNDS = 10  # of timing


class PeftFourierFT(ByPeft):
    """FourierFT with PEFT's own layer."""

    name: Literal["peft_fourierft"]
    n: int
    scale: float
    entry_seed: int

    def configuration(self, **names: list[str]) -> peft.FourierFTConfig:
        return peft.FourierFTConfig(n_frequency=self.n, scaling=self.scale, random_loc_seed=self.entry_seed, **names)


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
        memory.free(device)
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


def footprint(method: str, gpu: bool) -> Footprint:
    """One method on every task; gpu: whether to measure on the GPU too. Hydra must be initialised on configs/."""
    known, steps = record.circumstances("cuda" if gpu else "cpu"), {}
    for task in TASKS:
        one = case(method, task)
        exact = one.exact()
        steps[task] = exact.model_copy(update={"gpu": one.measured(ROUNDS)}) if gpu else exact
    return Footprint(
        method=method,
        model=MODEL,
        steps=steps,
        **known,
        ended=record.now(),
    )


def case(method: str, task: str) -> Case:
    """The step of a method, with the batch and length of FourierFT's recipe. Hydra must be initialised on configs/."""
    fourier = _config(task, OURS)
    if method == PEFT:
        settings = fourier.method.model_dump(include={"n", "scale", "entry_seed"})
        chosen: Method = PeftFourierFT(name=PEFT, **settings)
    else:
        chosen = _config(task, *([OURS, "method.entries=grid"] if method == GRID else [method])).method
    return Case(
        method=chosen,
        config=architectures.roberta(1024, 24, num_labels=max(1, len(fourier.task.classes))),
        attention=fourier.model.attention,
        head=fourier.model.head,
        batch=fourier.recipe.batch_size,
        tokens=min(TASKS[task] or fourier.recipe.max_length, fourier.recipe.max_length),
    )


def _config(task: str, method: str, *more: str) -> Config:
    return load(f"+exp=glue_{task}", f"model={MODEL}", f"method={method}", *more)

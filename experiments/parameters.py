"""Exact sizes of every method on a full-size model, without its weights: counted on the meta device, then saved.

Trained parameters become real zeros, which `Method.save` writes: the files are as large as those of a real run.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from pydantic import TypeAdapter
from torch import nn

from experiments import record
from experiments.composing import composed
from experiments.measure.sizes import Size, Sizes
from experiments.methods import AnyMethod
from experiments.methods.adalora import AdaLora
from experiments.methods.base import Method
from experiments.methods.trained import count, stored, weights
from experiments.models.architectures import Architecture
from experiments.record import Matrices
from fourierft import fourier_layers


def method(name: str, settings: dict[str, Any]) -> Method:
    """A method of configs/method with `settings`."""
    defaults = OmegaConf.to_container(composed(f"method/{name}")["method"])
    scale = {"scale": 1.0} if "scale" in defaults else {}  # set by recipes; no count depends on it
    return TypeAdapter(AnyMethod).validate_python(defaults | scale | settings)


def matrices(architecture: Architecture) -> list[Matrices]:
    """The matrices that the paper adapts, by shape, found in the model without a method."""
    return Matrices.of(weight.shape for weight in weights(architecture.build(), architecture.attention).values())


def size(architecture: Architecture, name: str, settings: dict[str, Any]) -> Size:
    """One method on one model. Needs memory, and for a moment disk space, for what trains."""
    chosen = method(name, settings)
    with torch.device("meta"):  # created, not moved there: a move would make peft's AdaLoRA train its counters
        model = chosen.adapt(architecture.build(), architecture.attention, architecture.head)
    counts = count(model, architecture.head)
    plans = {layer.plan for layer in fourier_layers(model).values()}  # one for all layers that share their entries
    materialise(model)
    if isinstance(chosen, AdaLora):
        _end_of_allocation(model, chosen.r)
    with tempfile.TemporaryDirectory() as folder:
        chosen.save(model, Path(folder))
        kept = stored(Path(folder))
    return Size(
        method=name,
        settings=settings,
        **{part: counts[part] for part in ("adapter", "head", "total")},
        **kept,
        positions=sum(2 * plan.n for plan in plans),
    )


def materialise(model: nn.Module) -> None:
    """Replace every trained parameter by zeros on the CPU; shared ones stay shared."""
    real = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.requires_grad:
                if parameter not in real:
                    real[parameter] = nn.Parameter(torch.zeros_like(parameter, device="cpu"))
                module._parameters[name] = real[parameter]


def _end_of_allocation(model: nn.Module, r: int) -> None:
    """AdaLoRA saves the triplets not masked by zeros: leave r per matrix, its average at the end."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_E" in name:
                parameter[:r] = 1


def sizes(name: str, architecture: Architecture, wanted: Iterable[tuple[str, dict[str, Any]]]) -> Sizes:
    """The record of one model: the sizes of each (method, settings) in `wanted`, printed as they are counted."""
    found = []
    for one in wanted:
        found.append(row := size(architecture, *one))
        print(
            f"  {row.title:28} {row.adapter:>13,} adapter {row.head:>11,} head {row.stored_bytes:>15,} bytes",
            flush=True,
        )
    return Sizes(
        model=name,
        matrices=matrices(architecture),
        rows=found,
        **record.provenance(),
        date=record.now(),
    )

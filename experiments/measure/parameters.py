"""Exact sizes of every method on a full-size model, without its weights: counted on the meta device, then saved.

What trains gets real zeros, and `Method.save` writes them: the files have the size of a real run's.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from omegaconf import OmegaConf
from pydantic import TypeAdapter
from torch import nn

from experiments import record
from experiments.measure.sizes import Matrices, Size, Sizes
from experiments.methods import AnyMethod
from experiments.methods.adalora import AdaLora
from experiments.methods.base import Method, count, stored, weights
from experiments.models.architectures import Architecture
from fourierft import fourier_layers


def method(name: str, settings: dict[str, Any]) -> Method:
    """A method of configs/method, changed by `settings`. Hydra must be initialised on configs/."""
    defaults = OmegaConf.to_container(compose(f"method/{name}")["method"])
    scale = {"scale": 1.0} if "scale" in defaults else {}  # recipes set it, and no count depends on it
    return TypeAdapter(AnyMethod).validate_python(defaults | scale | settings)


def matrices(architecture: Architecture) -> list[Matrices]:
    """The matrices that the paper adapts, by shape: found in the plain model, for counts to be held against them."""
    shapes = Counter(tuple(weight.shape) for weight in weights(architecture.build(), architecture.attention).values())
    return [Matrices(shape=list(shape), count=number) for shape, number in sorted(shapes.items())]


def size(architecture: Architecture, name: str, settings: dict[str, Any]) -> Size:
    """One method on one model. Takes the memory of what it trains, and for a moment the disk."""
    chosen = method(name, settings)
    with torch.device("meta"):  # made there, not moved there: a move makes peft's AdaLoRA train its counters too
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
    """Replace every parameter that trains by zeros on the CPU; what is shared stays shared."""
    real = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.requires_grad:
                if parameter not in real:
                    real[parameter] = nn.Parameter(torch.zeros_like(parameter, device="cpu"))
                module._parameters[name] = real[parameter]


def _end_of_allocation(model: nn.Module, r: int) -> None:
    """AdaLoRA masks triplets by zeros and saves the others: leave the r a matrix that it ends with on average."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_E" in name:
                parameter[:r] = 1


def sizes(name: str, architecture: Architecture, wanted: Iterable[tuple[str, dict[str, Any]]]) -> Sizes:
    """The record of one model: each (method, settings) of `wanted`, printed as it is counted."""
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

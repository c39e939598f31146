"""FourierFT (Gao et al. 2024), implemented by this project's library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

import fourierft
from experiments.methods.base import Method, task_type

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import TrainerCallback

FOURIER = "fourier"


class FourierFT(Method):
    """n coefficients per matrix, at shared random positions of its spectrum (Eqs. 2 to 4 of the paper)."""

    name: Literal["fourierft"]
    n: PositiveInt
    scale: PositiveFloat | Literal["auto"]
    entry_seed: NonNegativeInt
    init: Literal["normal", "zeros"]
    shared_entries: bool
    # Left out of the dump at their defaults, so that older runs keep their hash.
    band: tuple[NonNegativeFloat, PositiveFloat] | None = Field(exclude_if=lambda band: band is None)
    basis: str = Field(exclude_if=lambda basis: basis == FOURIER)
    entries: Literal["random", "grid"] = Field(exclude_if=lambda entries: entries == "random")
    targets: Literal["attention", "all-linear"] = Field(exclude_if=lambda targets: targets == "attention")
    n_pattern: dict[str, PositiveInt] | None = Field(exclude_if=lambda pattern: pattern is None)

    @field_validator("basis")
    @classmethod
    def _is_known(cls, basis: str) -> str:
        if basis != FOURIER and basis not in fourierft.BASES:  # the names of the others take an import of torch
            raise ValueError(f"unknown; choose one of {', '.join(fourierft.BASES)}")
        return basis

    @property
    def seed_of_entries(self) -> int:
        return self.entry_seed

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        settings = self.model_dump(exclude={"name", "targets"})
        targets = attention if self.targets == "attention" else self.targets
        config = fourierft.FourierConfig(**settings, targets=targets, head=head, task_type=task_type(model))
        return fourierft.adapt(model, config)

    def callbacks(self) -> list[TrainerCallback]:
        from experiments.methods.callbacks import Gradients

        return [Gradients()]

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        for path, layer in fourierft.fourier_layers(model).items():
            for part, delta in fourierft.delta_weights(layer).items():
                yield path + part, delta

    @contextmanager
    def merged(self, model: nn.Module) -> Iterator[None]:
        layers = fourierft.fourier_layers(model).values()
        if not any(isinstance(layer, fourierft.QuantizedFourierLinear) for layer in layers):  # whose W has too few bits
            fourierft.merge(model)
        try:
            yield
        finally:
            fourierft.unmerge(model)

    def save(self, model: nn.Module, folder: Path) -> None:
        fourierft.save(model, folder)

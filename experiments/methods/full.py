"""Full fine-tuning: every parameter trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import PrivateAttr

from experiments.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor, nn


class Full(Method):
    """delta_W is reported only for the matrices that the other methods adapt."""

    name: Literal["full"]
    _initial: dict[str, Tensor] = PrivateAttr(default_factory=dict)

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        from experiments.methods.trained import weights

        initial = weights(model, attention)
        self._initial.update({path: w.float().cpu().clone() for path, w in initial.items() if not w.is_meta})
        return super().adapt(model, attention, head)

    def trains(self, name: str) -> bool:
        return True

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        from experiments.methods.trained import weights

        now = weights(model, tuple(self._initial))
        for path, start in self._initial.items():
            yield path, now[path].float().cpu() - start

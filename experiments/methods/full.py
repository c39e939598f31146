"""Full fine-tuning: every parameter trains."""

from collections.abc import Iterator
from typing import Literal

from pydantic import PrivateAttr
from torch import Tensor, nn

from experiments.methods.base import Method, weights


class Full(Method):
    """delta_W is reported only for the matrices that the other methods adapt."""

    name: Literal["full"]
    _initial: dict[str, Tensor] = PrivateAttr(default_factory=dict)

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        initial = weights(model, attention)
        self._initial.update({path: w.float().cpu().clone() for path, w in initial.items() if not w.is_meta})
        return super().adapt(model, attention, head)

    def trains(self, name: str) -> bool:
        return True

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        now = weights(model, tuple(self._initial))
        for path, start in self._initial.items():
            yield path, now[path].float().cpu() - start

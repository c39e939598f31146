"""Full fine-tuning: every parameter trains."""

from typing import Literal

from pydantic import PrivateAttr
from torch import Tensor, nn

from experiments.methods.base import Method, clone_weights


class Full(Method):
    """delta_W is reported for the matrices that the other methods adapt, though all of them change."""

    name: Literal["full"]
    _initial: dict[str, Tensor] = PrivateAttr(default_factory=dict)

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        self._initial.update(clone_weights(model, attention))
        return super().adapt(model, attention, head)

    def trains(self, name: str) -> bool:
        return True

    def delta_weights(self, model: nn.Module) -> dict[str, Tensor]:
        now = dict(model.named_modules())
        return {path: now[path].weight.detach().float().cpu() - start for path, start in self._initial.items()}

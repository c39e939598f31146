"""The base of the fine-tuning methods: a method changes the model, decides what trains, and reports its delta_W.

A configuration is checked by these classes and must not wait for torch: their modules import it, transformers and peft
for annotations alone, and where a method works, a module that does the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.typed import Typed

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import TrainerCallback


def task_type(model: nn.Module) -> str | None:
    """What a model of transformers does, in PEFT's words: "SEQ_CLS" where it classifies texts or gives them scores,
    None for the classification of images, for which PEFT has no word, else "CAUSAL_LM"."""
    name = type(model).__name__
    if "ForImageClassification" in name:
        return None
    return "SEQ_CLS" if "ForSequenceClassification" in name else "CAUSAL_LM"


class Method(Typed):
    """A method of fine-tuning and its settings. Subclasses override what they do differently."""

    name: str

    def check(self) -> None:
        """Raises UserError for settings that the method's library refuses; called before a run loads anything."""

    @property
    def seed_of_entries(self) -> int | None:
        """The seed of the spectral positions, where the method has any."""
        return None

    def adapt(self, model: nn.Module, attention: tuple[str, ...], head: tuple[str, ...]) -> nn.Module:
        """Freeze `model` except its head, and add what the method trains to the matrices called `attention`.

        A name such as "c_attn:q,v" means parts of a fused projection, each a matrix of its own.
        Raises UserError where the method does not fit the model.
        """
        from experiments.methods import trained

        return trained.freeze(model, head, self.trains)

    def trains(self, name: str) -> bool:
        """Whether the model's own parameter `name` trains. Overridden by the methods that add no parameters."""
        return False

    def delta_weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Module path and delta_W, (out, in) float32, detached, of every adapted matrix; none where none is adapted.

        They are yielded one at a time: those of a large model do not fit into memory together.
        """
        yield from ()

    def penalty(self, model: nn.Module) -> Tensor | float:
        """The method's term of a step's loss, a scalar."""
        return 0.0

    @contextmanager
    def merged(self, model: nn.Module) -> Iterator[None]:
        """A context in which `model` predicts the same up to rounding, faster where delta_W can join the weights."""
        yield

    def callbacks(self) -> list[TrainerCallback]:
        """The callbacks of what the method does in training beyond gradient steps."""
        return []

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the trained parameters, here as safetensors; subclasses write adapters in PEFT's format, which name
        the base model by its `name_or_path`."""
        from experiments.methods import trained

        trained.save(model, folder)

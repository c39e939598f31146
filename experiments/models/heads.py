"""The head of a model: which of its modules and parameters belong to it."""

from typing import Literal

from torch import nn

from experiments.errors import UserError


def is_head(name: str, head: tuple[str, ...]) -> bool:
    """Whether the parameter or module `name` is in the head: one part of its path is in `head`."""
    return not set(head).isdisjoint(name.split("."))


def check_head(model: nn.Module, head: tuple[str, ...]) -> None:
    """Raises UserError where no module has a name of the head: the real head would silently stay frozen."""
    paths = [path for path, _ in model.named_modules()]
    for name in head:
        if not any(is_head(path, (name,)) for path in paths):
            linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
            last = linear[-1].rpartition(".")[2] if linear else "none"
            raise UserError(
                f"model.head={name}: {type(model).__name__} has no module of that name; its last linear layer is "
                f"called {last}: if that is the classifier, model.head=[{last}]"
            )


def found(model: nn.Module, head: tuple[str, ...] | Literal["auto"]) -> tuple[str, ...]:
    """The names of the head's modules: `head`, or with "auto" the modules with parameters outside of the largest
    part of a model, and the pooler between them, which many files have untrained or not at all."""
    if head != "auto":
        return head
    base = max(model.children(), key=lambda child: sum(parameter.numel() for parameter in child.parameters()))
    if classifier := getattr(base, "get_classifier", None):  # timm's, in its wrapper
        return tuple(path.rpartition(".")[2] for path, module in model.named_modules() if module is classifier())
    parts = [(name, module) for name, module in model.named_children() if module is not base]
    parts += [("pooler", module) for name, module in base.named_children() if name == "pooler"]
    return tuple(name for name, module in parts if next(module.parameters(), None) is not None)

"""A trained core between frozen singular vectors, beside a linear layer: y = W x + (alpha / r) U S R V^T x."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from experiments.errors import UserError
from experiments.methods.trained import matched, weights
from fourierft import dense_shape

START = 1e-5  # standard deviation of the core, as in LoRA-XS


class Core(nn.Module):
    """`base`, frozen, and a core R, (r, r) float32, in the frame of its own `weight`, (out, in), of which r singular
    pairs are kept in float32. Raises UserError for more than there are."""

    def __init__(self, base: nn.Module, weight: Tensor, r: int, alpha: float):
        super().__init__()
        if r > min(weight.shape):
            raise UserError(f"method.r={r}: a weight of shape {tuple(weight.shape)} has {min(weight.shape)} at most")
        self.base, self.scale = base, alpha / r
        left, values, right = torch.linalg.svd(weight.float(), full_matrices=False)
        self.register_buffer("left", (left[:, :r] * values[:r]).contiguous(), persistent=False)
        self.register_buffer("right", right[:r].contiguous(), persistent=False)
        self.core = nn.Parameter(START * torch.randn(r, r).to(left))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) to y (..., out), in the dtype of `base`'s output."""
        y = self.base(x)
        change = x.to(self.core.dtype) @ self.right.T @ self.core.T @ self.left.T
        return y + (self.scale * change).to(y.dtype)


def insert(model: nn.Module, attention: tuple[str, ...], **settings) -> None:
    """Put a Core in the place of every layer called `attention`. Raises UserError where there is none, and what `Core`
    raises."""
    for target in attention:
        linear = {path: module for path, module in matched(model, target)[0].items() if dense_shape(module)}
        if not linear:
            raise UserError(f"model.attention={target}: {type(model).__name__} has no linear layer of that name")
        found = weights(model, (target,))
        for path, module in linear.items():
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, Core(module, found[path], **settings))


def delta_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Path and delta_W (out, in), detached, of every adapted matrix."""
    for path, layer in model.named_modules():
        if isinstance(layer, Core):
            yield path, (layer.scale * layer.left @ layer.core @ layer.right).detach()

"""Sorted rows and columns: coefficients at the smoothest vectors of a basis, in an order in which gradients are smooth.

At random positions a coefficient sees as much of the gradient G = dL/dW as any other direction would: n / (d1 d2) of
its energy. Most of it is in few singular pairs. If the rows of W are sorted by the leading left singular vector of G,
and its columns by the right one, that pair becomes a ramp along each side, which the first a and b vectors of a cosine
transform hold. With P_r and P_c, which put the rows and the columns into order,

    delta_W = s P_r^T (B1 A B2^T) P_c,   B1: (d1, a), B2: (d2, b), A: the n = a b coefficients, s as in `bases.py`

Of the identity the first rows and columns are those of the largest norm in G: A is a sub-matrix of delta_W, listed by
a + b integers. Tables with the order in them (`plan.py`) make both as cheap as a grid, and their rank is min(a, b).
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import FourierConfig
from .document import PREFIX
from .errors import FourierError
from .layer import ORDER, FourierLayer
from .linear import FourierLinear
from .model import adapted_layers
from .targets import weight_shape

ITERATIONS = 100  # of the power method: what they leave of a second pair changes the order little


def sort(model: nn.Module, loss: Callable[[nn.Module, Any], Tensor], batches: Iterable[Any]) -> nn.Module:
    """Sorts the rows and columns of an adapted model with entries="sorted", by the gradients of a few batches.

        model = fourierft.adapt(model, fourierft.FourierConfig(n=992, scale="auto", entries="sorted", basis="dct", ...))
        fourierft.sort(model, lambda model, batch: model(**batch).loss, a_few_batches)  # then train

    loss: (model, batch) -> a scalar tensor, in whatever mode the model is. The gradients are those of the frozen
    weights, without the coefficients, added up over the batches; all together take the memory of these weights. Before
    training: a new order gives coefficients another meaning. The orders are saved with the coefficients. Returns the
    model. Raises FourierError, with the model unchanged, for a plain model or one without sorted entries, a layer that
    is quantised or merged, and a gradient that is missing, zero or not finite.
    """
    layers = {path: layer for path, layer in adapted_layers(model).items() if layer.entries.kind == "sorted"}
    if not layers:
        raise FourierError('there is nothing to sort: adapt the model with entries="sorted"')
    for path, layer in layers.items():
        if not isinstance(layer, FourierLinear) or layer.merged:
            remedy = "unmerge the model first" if layer.merged else "sort the unquantised model, and load its adapter"
            raise FourierError(f"{path} is {'merged' if layer.merged else 'quantised'}, without a gradient: {remedy}")
    orders = {path: _order(path, layers[path], total) for path, total in _gradients(model, layers, loss, batches)}
    for path, order in orders.items():
        layers[path].set_order(order)
    return model


def _gradients(
    model: nn.Module, layers: Mapping[str, Any], loss: Callable[[nn.Module, Any], Tensor], batches: Iterable[Any]
) -> Iterable[tuple[str, Tensor]]:
    """The path of each layer and G, the sum over the batches, (out, in), at least float32."""
    weights = {path: layer.weight for path, layer in layers.items()}
    sums: dict[str, Tensor] = {}
    with ExitStack() as stack, torch.enable_grad():
        for layer in layers.values():
            stack.callback(setattr, layer, "of_rows", layer.of_rows)
            stack.callback(layer.weight.requires_grad_, layer.weight.requires_grad)
            layer.of_rows = _without_coefficients
            layer.weight.requires_grad_(True)
        for batch in batches:
            found = torch.autograd.grad(loss(model, batch), list(weights.values()), allow_unused=True)
            for path, gradient in zip(weights, found, strict=True):
                if gradient is not None:
                    wide = gradient.to(layers[path].fourierft_spectrum.dtype)
                    sums[path] = wide if path not in sums else sums[path].add_(wide)
    for path, layer in layers.items():
        if path not in sums or not sums[path].any():
            raise FourierError(f"no gradient reached the weight of {path}: give batches that use it, or leave it out")
        if not sums[path].isfinite().all():
            raise FourierError(f"the gradient of {path} is not finite: leave out the batch that makes it so")
        yield path, sums[path].t() if layer.fan_in_fan_out else sums[path]


def _without_coefficients(x: Tensor) -> None:
    """For `FourierLayer.of_rows`: the layer computes what the frozen one does."""


def _order(path: str, layer: FourierLayer, gradient: Tensor) -> Tensor:
    """The order of a layer's rows and columns, as in `fourierft_order`, from G, (out, in)."""
    if layer.entries.basis == "identity":
        keys = [-gradient.norm(dim=side) for side in (1, 0)]
    else:
        right = gradient[gradient.norm(dim=1).argmax()]
        for _ in range(ITERATIONS):
            left = nn.functional.normalize(gradient @ right, dim=0)
            right = nn.functional.normalize(left @ gradient, dim=0)
        keys = [left, right]
    listed = layer.entries.listed(layer.matrix_shape)
    return torch.cat([key.argsort(stable=True)[:count] for key, count in zip(keys, listed, strict=True)])


def order_tensors(layers: Mapping[str, FourierLayer]) -> dict[str, Tensor]:
    """The orders of the layers that have one, by their keys in a file, sharing memory with the model.

    Raises FourierError, as `FourierLayer.plan`, for rows and columns that are still to be sorted.
    """
    ordered = {path: layer for path, layer in layers.items() if layer.entries.kind == "sorted" and layer.plan}
    return {f"{PREFIX}{path}.{ORDER}": layer.fourierft_order for path, layer in ordered.items()}


def take_orders(
    config: FourierConfig, layers: Mapping[str, Any], tensors: dict[str, Tensor], file: Path
) -> dict[str, Tensor]:
    """Takes the orders out of the tensors of a file; returns them by the path of their layer, adapted or plain.

    Raises FourierError, naming the file, for one that is missing or does not list the rows and columns of its layer.
    """
    found = {}
    for k, (path, layer) in enumerate(layers.items()):
        entries, key = config.entries_of(k, path), f"{PREFIX}{path}.{ORDER}"
        if entries.kind != "sorted":
            continue
        shape = layer.matrix_shape if isinstance(layer, FourierLayer) else weight_shape(layer) or (0, 0)
        listed = entries.listed(shape)
        order = tensors.pop(key, torch.empty(0))
        whole = order.shape == (sum(listed),) and not order.is_floating_point()
        parts = zip(order.split(listed), shape, strict=True) if whole else ()
        if not whole or any(len(part.unique()) < len(part) or part.min() < 0 or part.max() >= d for part, d in parts):
            raise FourierError(
                f"{file}: {key} does not list {listed[0]} rows and {listed[1]} columns of a {shape[0]} x {shape[1]} "
                "weight, each once: load it into the model it was trained on, or save the adapter again"
            )
        found[path] = order
    return found

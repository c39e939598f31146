"""What all adapted layers have, however the frozen weight is stored: coefficients, their positions, an algorithm."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .choice import Algorithm
from .entries import Entries, Shape
from .errors import FourierError
from .parts import PARTS, matrix_shape
from .plan import BasisPlan, Plan, make_plan
from .products import delta_weight
from .wide import LOW_PRECISION


class FourierLayer(nn.Module):
    """The adapter of a linear layer of (out, in) features; a subclass adds the frozen weight and the product with it.

    `fourierft_spectrum` holds the coefficients, (n,) float32 (float64 if the weight is), zero until `reset_spectrum`
    draws them; `.half()` and the like leave them float32. With `parts`, some of q, k and v, the layer is a fused
    projection, and each of these parts a matrix of its own: the positions are those of an (out / 3, in) matrix, the
    coefficients (len(parts), n). `algorithm` determines how the layer computes. `of_rows`, set by a bank (`bank.py`),
    replaces the coefficients.
    Raises FourierError for entries that do not fit, and for parts of a layer that is no fused projection.
    """

    fourierft_spectrum: nn.Parameter

    def __init__(
        self, base: nn.Module, shape: Shape, entries: Entries, scale: float, parts: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        check_replaceable(base)
        self.out_features, self.in_features = shape
        self.entries, self.scale, self.parts, self.algorithm = entries, scale, parts, Algorithm()
        self.of_rows: Callable[[Tensor], Tensor | None] | None = None
        self.matrix_shape = matrix_shape(shape, parts)  # (out, in) of the layer, or of each part
        entries.check(self.matrix_shape)
        weight: Any = base.weight
        size = (len(parts), entries.n) if parts else (entries.n,)
        wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
        self.fourierft_spectrum = nn.Parameter(torch.zeros(size, dtype=wide, device=weight.device))
        self._plan = self._make_plan()

    @property
    def plan(self) -> Plan | BasisPlan:
        """The tables of the positions, on the device of the coefficients, even if these were moved by assignment."""
        if self._plan.u.device != self.fourierft_spectrum.device:
            self._plan = self._make_plan()
        return self._plan

    @property
    def merged(self) -> bool:
        return False

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in), or a nested tensor of sequences (length, in). Returns (..., out), nested if x is."""
        if not x.is_nested:
            return self.product(x)
        if self.of_rows is not None:
            raise FourierError("a bank cannot tell the rows of a nested tensor apart: give it a padded one")
        if x.layout == torch.jagged:
            return _jagged_as(x, self.product(x.values()))
        sequences = x.unbind()
        rows = self.product(torch.cat(sequences)).split([len(sequence) for sequence in sequences])
        return torch.nested.as_nested_tensor(list(rows))

    def product(self, x: Tensor) -> Tensor:
        """The layer's output, (..., out), for x: (..., in). Implemented by subclasses."""
        raise NotImplementedError

    def coefficients(self, x: Tensor) -> Tensor | None:
        """For this input: the layer's own, or of each row, (rows, n) or (rows, len(parts), n); None for W alone."""
        return self.fourierft_spectrum if self.of_rows is None else self.of_rows(x)

    def merged_weight(self) -> tuple[Tensor, float]:
        """W + delta_W, for `set_merged`, and the relative share of delta_W lost in rounding. Of subclasses."""
        raise NotImplementedError

    def set_merged(self, merged_weight: Tensor) -> None:
        """Makes this a plain layer with that weight, until `unmerge`. Implemented by subclasses that can be merged."""
        raise NotImplementedError

    def unmerge(self) -> None:
        """Restores the frozen weight. Does nothing if the layer is not merged."""

    @torch.no_grad()
    def reset_spectrum(self, init: str) -> None:
        """Sets the coefficients: "normal", N(0, 1) from the global CPU generator, whatever the device, or "zeros"."""
        draw = torch.randn if init == "normal" else torch.zeros
        self.fourierft_spectrum.copy_(draw(self.fourierft_spectrum.shape, dtype=torch.float32, device="cpu"))

    @torch.no_grad()
    def delta_weights(self) -> dict[str, Tensor]:
        """delta_W of each adapted matrix, of `matrix_shape`, detached, by its part; "" for a whole layer."""
        spectra = self.fourierft_spectrum if self.parts else self.fourierft_spectrum[None]
        return {
            part: delta_weight(c * self.plan.unit(self.scale), self.plan)
            for part, c in zip(self.parts or ("",), spectra.detach(), strict=True)
        }

    def delta_weight(self) -> Tensor:
        """delta_W of the layer, (out, in), in the dtype of the coefficients, detached; zero in other parts."""
        deltas = self.delta_weights()
        if not self.parts:
            return deltas[""]
        zeros = self.fourierft_spectrum.new_zeros(self.matrix_shape)
        return torch.cat([deltas.get(part, zeros) for part in PARTS])

    def _make_plan(self) -> Plan | BasisPlan:
        return make_plan(self.matrix_shape, self.fourierft_spectrum.device, self.entries)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FourierLayer":
        spectrum = self.fourierft_spectrum

        def keep_wide(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if (tensor is spectrum or tensor is spectrum.grad) and moved.dtype in LOW_PRECISION:
                return tensor.to(moved.device, torch.float32)
            return moved

        super()._apply(keep_wide, recurse)
        self._plan = self._make_plan()  # now: torch.compile cannot trace the draw
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plan = self._make_plan()  # copies share it, and pickles have it on the device that they are loaded to

    def _take_over(self, base: nn.Module) -> None:
        """Takes over the training mode of `base`, and moves here the hooks of its calls.

        The dictionaries of hooks are moved, not copied, so that the handles of the hooks still remove them.
        """
        placement = vars(base).get("_hf_hook")
        if placement is not None:  # accelerate's, which moves the inputs to the layer's device
            from accelerate.hooks import add_hook_to_module, remove_hook_from_module

            remove_hook_from_module(base)
        for name in vars(base).keys() & vars(self).keys():
            if name.startswith(("_forward", "_backward", "_is_full_backward")):
                vars(self)[name], vars(base)[name] = vars(base)[name], vars(self)[name]
        self.train(base.training)
        self._end_fast_path()
        if placement is not None:
            add_hook_to_module(self, placement)

    def _end_fast_path(self) -> None:
        """Adds a hook, without which nn.TransformerEncoderLayer would read the weight instead of calling the layer."""
        self._fast_path = self.register_forward_pre_hook(_inert)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, scale={self.scale}, {self.entries}"
            + (f", parts={','.join(self.parts)}" if self.parts else "")
            + (", merged" if self.merged else "")
        )


def _inert(layer: nn.Module, args: tuple) -> None:
    pass


def _jagged_as(x: Any, values: Tensor) -> Tensor:
    """The values as sequences with the very offsets of x, without which torch could not add the two."""
    sequences = x.offsets(), x.lengths(), x._ragged_idx, x._maybe_min_seqlen, x._maybe_max_seqlen
    return torch.nested.nested_tensor_from_jagged(values, *sequences)


def check_replaceable(base: nn.Module) -> None:
    """Raises FourierError if what `base` computes depends on more than its type and its weights, and would be lost."""
    own = getattr(vars(base).get("forward"), "__func__", None) is type(base).forward
    if "_hf_hook" in vars(base) and base.weight.is_meta:
        problem = "its weight is offloaded by accelerate: adapt the model first, then offload it"
    elif "forward" in vars(base) and "_hf_hook" not in vars(base) and not own:
        problem = "its forward was replaced on the instance: adapt the model first, then replace it"
    elif others := sorted((base._parameters.keys() | base._buffers.keys() | base._modules.keys()) - {"weight", "bias"}):
        problem = (
            f"it holds {', '.join(others)}, from which its weight is made (weight_norm, spectral_norm, pruning?): make "
            "that permanent first, by remove_weight_norm, prune.remove or the like"
        )
    elif type(base).__module__.split(".")[0] != "bitsandbytes" and any(
        hooks for name, hooks in vars(base).items() if "state_dict" in name
    ):
        problem = "it has hooks on its state dict: adapt the model first, then register them"
    else:
        return
    raise FourierError(f"this {type(base).__name__} cannot be adapted: {problem}")

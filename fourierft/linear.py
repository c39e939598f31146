"""The FourierFT layer over a dense weight: `nn.Linear`, transformers' `Conv1D`, and parts of a fused projection."""

from typing import Any

import torch
from torch import Tensor, nn

from .entries import Entries, Shape
from .errors import FourierError
from .function import fourier_linear
from .layer import FourierLayer
from .parts import PARTS


def dense_shape(base: Any) -> Shape | None:
    """(out, in) of a layer that FourierLinear can replace, `nn.Linear` or transformers' `Conv1D`; None for any other.

    Subclasses are excluded: they may store a quantised weight, or one that is read without calling the layer.
    """
    if type(base) is nn.Linear:
        return base.out_features, base.in_features
    if type(base).__name__ == "Conv1D" and isinstance(getattr(base, "nf", None), int):
        return base.nf, base.weight.shape[0]
    return None


class FourierLinear(FourierLayer):
    """A linear layer with a FourierFT adapter, which replaces `base` and takes over its parameters.

    `weight` and `bias` are the parameters of `base`, in its orientation: (out, in) of an `nn.Linear`, (in, out) of a
    `Conv1D` (`fan_in_fan_out` is then true).
    Raises FourierError for an unsupported layer, and what `FourierLayer` raises.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    frozen_weight: Tensor | None

    def __init__(self, base: Any, entries: Entries, scale: float, parts: tuple[str, ...] = ()) -> None:
        shape = dense_shape(base)
        if shape is None:
            raise FourierError(f"a {type(base).__name__} cannot be adapted: only nn.Linear and Conv1D can")
        super().__init__(base, shape, entries, scale, parts)
        self.fan_in_fan_out = not isinstance(base, nn.Linear)
        # The frozen weight while merged. A buffer, so that it moves with the model, but not part of state dicts.
        self.register_buffer("frozen_weight", None, persistent=False)
        self.weight = base.weight
        self.register_parameter("bias", base.bias)
        self._take_over(base)
        # Attributes that other libraries have set.
        bound = ("forward", "_compiled_call_impl")  # to `base`
        vars(self).update({k: v for k, v in vars(base).items() if k not in vars(self) and k not in bound})

    @property
    def merged(self) -> bool:
        return self.frozen_weight is not None

    def product(self, x: Tensor) -> Tensor:
        weight = self.weight.t() if self.fan_in_fan_out else self.weight
        spectrum = None if self.merged else self.coefficients(x)
        if spectrum is None or not self.parts:
            return self._adapted(x, weight, self.bias, spectrum)
        spectra = dict(zip(self.parts, spectrum.unbind(-2), strict=True))
        biases = (None,) * len(PARTS) if self.bias is None else self.bias.chunk(len(PARTS))
        thirds = zip(PARTS, weight.chunk(len(PARTS)), biases, strict=True)
        return torch.cat([self._adapted(x, rows, bias, spectra.get(part)) for part, rows, bias in thirds], dim=-1)

    def _adapted(self, x: Tensor, weight: Tensor, bias: Tensor | None, spectrum: Tensor | None) -> Tensor:
        if spectrum is None:
            return nn.functional.linear(x, weight, bias)
        return fourier_linear(x, weight, bias, spectrum, self.plan, self.scale, self.algorithm)

    @torch.no_grad()
    def merged_weight(self) -> tuple[Tensor, float]:
        """W + delta_W in the dtype and orientation of `weight`, and the relative share of delta_W lost in rounding.

        Raises FourierError if the sum is not finite. Changes nothing.
        """
        delta = self.delta_weight()
        delta = delta.t() if self.fan_in_fan_out else delta
        merged = (self.weight.to(delta.dtype) + delta).to(self.weight.dtype)
        if not torch.isfinite(merged).all():
            raise FourierError(
                f"W + delta_W has NaN or infinite values in {merged.dtype}: the adapter is broken (a diverged run?) or "
                f"its scale={self.scale} is too large; nothing was merged"
            )
        lost = (merged.to(delta.dtype) - self.weight.to(delta.dtype) - delta).norm() / delta.norm()
        return merged, float(lost.nan_to_num())

    def merge(self) -> None:
        """Adds delta_W to the weight, unless merged already. Unlike `fourierft.merge` it does not warn of rounding.

        Raises FourierError, with nothing changed, if the sum is not finite.
        """
        if not self.merged:
            self.set_merged(self.merged_weight()[0])

    def set_merged(self, merged_weight: Tensor) -> None:
        """Makes this a plain layer with the weight from `merged_weight`, and keeps the frozen one for `unmerge`."""
        frozen = self.weight
        # A new parameter: another module may share the old one (tied embeddings).
        self.weight = nn.Parameter(merged_weight, requires_grad=frozen.requires_grad)
        self._buffers["frozen_weight"] = frozen  # the same object, so that it is shared again once unmerged
        self._fast_path.remove()

    def unmerge(self) -> None:
        """Restores the frozen weight, bit for bit. Does nothing if the layer is not merged."""
        frozen = self.frozen_weight
        if frozen is not None:
            self.frozen_weight = None
            trains = self.weight.requires_grad
            # The same object as before, unless the model was moved in between.
            self.weight = frozen if isinstance(frozen, nn.Parameter) else nn.Parameter(frozen, requires_grad=trains)
            self._end_fast_path()

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As nn.Module's. A weight put into a merged layer, as by transformers' tie_weights, is merged as well."""
        merged = name == "weight" and self.merged
        if merged:
            self.unmerge()
        super().register_parameter(name, param)
        if merged:
            self.merge()

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.merged:  # an extra dimension, which any file keeps, marks the weight as merged
            destination[prefix + "fourierft_spectrum"] = destination[prefix + "fourierft_spectrum"][None]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """As nn.Module's, into the frozen weight; a merged layer then adds delta_W again.

        From the state of a merged layer only the coefficients are loaded, since its frozen weight is unknown. Raises
        FourierError unless its weight is the weight of this layer with delta_W added.
        """
        if self.merged:
            self.unmerge()
            try:
                return self._load_from_state_dict(state_dict, prefix, *args)
            finally:
                self.merge()
        spectrum, weight = (state_dict.get(prefix + name) for name in ("fourierft_spectrum", "weight"))
        holds_delta = spectrum is not None and spectrum.shape == (1, *self.fourierft_spectrum.shape)
        if spectrum is not None and holds_delta:
            state_dict = state_dict | {prefix + "fourierft_spectrum": spectrum[0], prefix + "weight": self.weight}
        super()._load_from_state_dict(state_dict, prefix, *args)
        if holds_delta and weight is not None and not self._is_merged_weight(weight):
            raise FourierError(
                f"{prefix}weight is of a merged model, but not this model's weight with delta_W added: take the state "
                "dict after fourierft.unmerge, or load it into the plain model"
            )

    def _is_merged_weight(self, weight: Tensor) -> bool:
        """Whether this is `merged_weight`, up to rounding."""
        if self.weight.is_meta or weight.shape != self.weight.shape:
            return False
        expected, _ = self.merged_weight()
        unit = max(torch.finfo(weight.dtype).eps, torch.finfo(expected.dtype).eps, 1e-5)
        return torch.allclose(weight.to(expected), expected, rtol=0, atol=2 * unit * float(expected.abs().max()))

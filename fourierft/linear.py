"""The FourierFT layer over a dense weight: `nn.Linear`, transformers' `Conv1D`, and parts of a fused projection."""

import torch
from torch import Tensor, nn

from .config import PARTS
from .entries import Band, Shape
from .errors import FourierError
from .function import fourier_linear
from .layer import FourierLayer


def layer_shape(base: nn.Module) -> Shape | None:
    """(out, in) of a layer that FourierLinear can replace: `nn.Linear` or transformers' `Conv1D`; None of any other.

    Exact types: a subclass may hold its weight in another form (quantised) or have it read past its forward.
    """
    if type(base) is nn.Linear:
        return base.out_features, base.in_features
    if type(base).__name__ == "Conv1D" and isinstance(getattr(base, "nf", None), int):
        return base.nf, base.weight.shape[0]
    return None


class FourierLinear(FourierLayer):
    """A linear layer with a FourierFT adapter; takes the place, and the parameters, of `base`.

    `weight` and `bias` are the base layer's own parameters under their own names, in its own orientation: (out, in)
    of an `nn.Linear`, (in, out) of a `Conv1D` (`fan_in_fan_out` is then true).
    Raises FourierError for an unsupported layer and for what `FourierLayer` refuses.
    """

    def __init__(
        self,
        base: nn.Module,
        n: int,
        scale: float,
        entry_seed: int = 2024,
        band: Band | None = None,
        parts: tuple[str, ...] = (),
        basis: str = "fourier",
        entries: str = "random",
    ) -> None:
        shape = layer_shape(base)
        if shape is None:
            raise FourierError(f"a {type(base).__name__} cannot be adapted: only nn.Linear and Conv1D can")
        super().__init__(shape, n, scale, entry_seed, band, parts, base.weight, basis, entries)
        self.fan_in_fan_out = not isinstance(base, nn.Linear)
        self.weight = base.weight
        self.register_parameter("bias", base.bias)
        # While merged: the frozen weight. A buffer, so that it moves with the model, but of no state dict.
        self.register_buffer("frozen_weight", None, persistent=False)
        self.train(base.training)

    @property
    def merged(self) -> bool:
        return self.frozen_weight is not None

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in). Returns (..., out)."""
        weight = self.weight.t() if self.fan_in_fan_out else self.weight
        if self.merged:
            return nn.functional.linear(x, weight, self.bias)
        if not self.parts:
            return self._adapted(x, weight, self.bias, self.fourierft_spectrum)
        spectra = dict(zip(self.parts, self.fourierft_spectrum, strict=True))
        biases = [None] * len(PARTS) if self.bias is None else self.bias.chunk(len(PARTS))
        outputs = []
        for part, rows, bias in zip(PARTS, weight.chunk(len(PARTS)), biases, strict=True):
            adapted = part in spectra
            outputs.append(
                self._adapted(x, rows, bias, spectra[part]) if adapted else nn.functional.linear(x, rows, bias)
            )
        return torch.cat(outputs, dim=-1)

    def _adapted(self, x: Tensor, weight: Tensor, bias: Tensor | None, spectrum: Tensor) -> Tensor:
        return fourier_linear(x, weight, bias, spectrum, self.plan, self.scale, self.algorithm)

    @torch.no_grad()
    def merged_weight(self) -> tuple[Tensor, float]:
        """W + delta_W in the dtype and orientation of `weight`, and the relative share of delta_W lost to that dtype.

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
        """Adds delta_W to the weight, unless it is there already. `fourierft.merge` also warns of what rounding loses.

        Raises FourierError, with nothing changed, if the sum is not finite.
        """
        if not self.merged:
            self.set_merged(self.merged_weight()[0])

    def set_merged(self, merged_weight: Tensor) -> None:
        """Makes this a plain layer of that weight, as from `merged_weight`, and keeps the frozen weight aside."""
        self.frozen_weight = self.weight.detach()
        # A new parameter, not a write into the old one, which another module may share (tied embeddings).
        self.weight = nn.Parameter(merged_weight, requires_grad=self.weight.requires_grad)

    def unmerge(self) -> None:
        """Puts the frozen weight back, bit for bit. Does nothing to a layer that is not merged."""
        if self.merged:
            self.weight = nn.Parameter(self.frozen_weight, requires_grad=self.weight.requires_grad)
            self.frozen_weight = None

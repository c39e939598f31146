"""What every adapted layer has, whatever its frozen weight is stored as: coefficients, entries, an algorithm."""

import torch
from torch import Tensor, nn

from .bases import misfit
from .choice import Algorithm
from .config import PARTS
from .entries import Band, Shape, check_n
from .errors import FourierError
from .plan import BasisPlan, Plan, make_plan
from .products import LOW_PRECISION, delta_weight


class FourierLayer(nn.Module):
    """The adapter of a linear layer of (out, in) features; a subclass adds the frozen weight and the product with it.

    `fourierft_spectrum` holds the coefficients, (n,) float32 (float64 beside a float64 weight), zero at first:
    `reset_spectrum` draws them. With `parts`, some of q, k and v, the layer is a fused projection and each part that is
    named a matrix of its own: the entries are those of an (out / 3, in) matrix, the coefficients (len(parts), n).
    They stay float32 through `.half()` and the like. `algorithm` says how the layer computes.
    Raises FourierError for n out of range, parts of what is no fused projection, and a basis, entries and a band that
    do not go together.
    """

    def __init__(
        self,
        shape: Shape,
        n: int,
        scale: float,
        entry_seed: int,
        band: Band | None,
        parts: tuple[str, ...],
        like: Tensor,
        basis: str = "fourier",
        entries: str = "random",
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = shape
        self.n, self.scale, self.entry_seed, self.band, self.parts = n, scale, entry_seed, band, parts
        self.basis, self.entries, self.algorithm = basis, entries, Algorithm()
        if problem := misfit(basis, entries, band):
            field, remedy = problem
            raise FourierError(f"{field}={getattr(self, field)!r} is not possible: give {remedy}")
        check_parts(shape, parts)
        check_n(self.matrix_shape, n, band, entries)
        wide = torch.float64 if like.dtype == torch.float64 else torch.float32
        size = (len(parts), n) if parts else (n,)
        self.fourierft_spectrum = nn.Parameter(torch.zeros(size, dtype=wide, device=like.device))
        self.plan = self._make_plan()

    @property
    def matrix_shape(self) -> Shape:
        """(out, in) of each adapted matrix: of the layer, or of a part of it."""
        return matrix_shape((self.out_features, self.in_features), self.parts)

    @property
    def merged(self) -> bool:
        return False

    @torch.no_grad()
    def reset_spectrum(self, init: str) -> None:
        """Sets the coefficients: "normal", from N(0, 1) by the global CPU generator on every device, or "zeros"."""
        draw = torch.randn if init == "normal" else torch.zeros
        self.fourierft_spectrum.copy_(draw(self.fourierft_spectrum.shape, device="cpu"))

    @torch.no_grad()
    def delta_weights(self) -> dict[str, Tensor]:
        """delta_W of each adapted matrix by its part, "" for a whole layer: `matrix_shape`, detached."""
        spectra = self.fourierft_spectrum if self.parts else self.fourierft_spectrum[None]
        return {
            part: delta_weight(c, self.plan, self.scale)
            for part, c in zip(self.parts or ("",), spectra.detach(), strict=True)
        }

    def delta_weight(self) -> Tensor:
        """delta_W of the layer, (out, in), in the dtype of the coefficients, detached; zero in parts not adapted."""
        deltas = self.delta_weights()
        if not self.parts:
            return deltas[""]
        zeros = self.fourierft_spectrum.new_zeros(self.matrix_shape)
        return torch.cat([deltas.get(part, zeros) for part in PARTS])

    def _make_plan(self) -> Plan | BasisPlan:
        positions = self.matrix_shape, self.n, self.entry_seed, self.band
        return make_plan(*positions, self.fourierft_spectrum.device, self.basis, self.entries == "grid")

    def _apply(self, fn, recurse=True):
        spectrum = self.fourierft_spectrum

        def keep_wide(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if (tensor is spectrum or tensor is spectrum.grad) and moved.dtype in LOW_PRECISION:
                return tensor.to(moved.device, torch.float32)
            return moved

        super()._apply(keep_wide, recurse)
        self.plan = self._make_plan()  # on the device the layer is now on
        return self

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"n={self.n}, scale={self.scale}, entry_seed={self.entry_seed}"
            + (f", band={self.band}" if self.band else "")
            + (f", entries={self.entries}" if self.entries != "random" else "")
            + (f", basis={self.basis}" if self.basis != "fourier" else "")
            + (f", parts={','.join(self.parts)}" if self.parts else "")
            + (", merged" if self.merged else "")
        )


def matrix_shape(shape: Shape, parts: tuple[str, ...]) -> Shape:
    """(out, in) of each adapted matrix of a layer of that (out, in)."""
    return (shape[0] // len(PARTS), shape[1]) if parts else shape


def check_parts(shape: Shape, parts: tuple[str, ...]) -> None:
    """Raises FourierError unless a layer of this (out, in) shape has the parts."""
    if parts and shape[0] != len(PARTS) * shape[1]:
        raise FourierError(
            f"{','.join(parts)} of a layer with {shape[1]} inputs and {shape[0]} outputs cannot be adapted: only a "
            f"fused projection with q, k and v of {shape[1]} outputs each can be cut"
        )

"""The FourierFT layer: y = x (W + delta_W)^T + b with a frozen W, and a backward pass that keeps next to nothing.

For the backward pass a layer saves its input x and its n coefficients, nothing else of its own: delta_W costs a
fraction of one matrix product and is made again. x is saved only if something needs G = g^T x, and the frozen weight
is referred to only if x needs a gradient.

Precision: coefficients, delta_W and G are float32, or float64 in a float64 model. In bfloat16 and float16 the sum
W + delta_W would lose delta_W to the rounding of W, and x W^T + x delta_W^T to that of the output: there one product of
twice the inner length, [x x] [W delta_W]^T, adds the two up before it rounds. Autocast is honoured.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .entries import Band, Shape, check_n
from .errors import FourierError
from .spectral import Plan, coefficient_grad, delta_weight, make_plan

LOW_PRECISION = (torch.bfloat16, torch.float16)


def fourier_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, spectrum: Tensor, plan: Plan, scale: float
) -> Tensor:
    """Equation 4: y = x (W + delta_W)^T + b.

    x: (..., in), weight: (out, in), bias: (out,) or None, all of one dtype unless autocast is active; spectrum: (n,)
    coefficients, float32 or float64; plan: their entries, on the device of x. Returns (..., out) in the dtype of x or
    of autocast. Differentiable once in x, weight, bias and spectrum. Raises FourierError if x and weight differ in
    dtype.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:  # autocast leaves float64 alone
        x = x.to(torch.get_autocast_dtype(device))
    elif x.dtype != weight.dtype:
        raise FourierError(f"the input is {x.dtype} but the layer's weight is {weight.dtype}: cast one or use autocast")
    return _FourierProduct.apply(x, weight, bias, spectrum, plan, scale)


class _FourierProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, spectrum, plan, scale):
        needs_x, needs_weight, _, needs_spectrum = ctx.needs_input_grad[:4]
        ctx.save_for_backward(
            x if needs_weight or needs_spectrum else None,
            weight if needs_x else None,
            spectrum if needs_x else None,
        )
        ctx.plan, ctx.scale = plan, scale
        delta = delta_weight(spectrum, plan, scale)
        rows, matrix = _operands(x.reshape(-1, x.shape[-1]), weight, delta, dim=1)
        y = nn.functional.linear(rows, matrix, None if bias is None else bias.to(x.dtype))
        return y.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, weight, spectrum = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, needs_spectrum = ctx.needs_input_grad[:4]
        grad_x = grad_weight = grad_bias = grad_spectrum = None
        rows = g.reshape(-1, g.shape[-1])
        with torch.autocast(g.device.type, enabled=False):  # a backward inside autocast would narrow G
            if needs_x:
                delta = delta_weight(spectrum, ctx.plan, ctx.scale)
                grad_x = torch.mm(*_operands(rows, weight, delta, dim=0)).view(*g.shape[:-1], weight.shape[1])
            if needs_weight or needs_spectrum:
                grad = _wide_product(rows.t(), x.reshape(-1, x.shape[-1]))  # G, (out, in)
                grad_spectrum = coefficient_grad(grad, ctx.plan, ctx.scale) if needs_spectrum else None
                grad_weight = grad if needs_weight else None
            if needs_bias:
                grad_bias = rows.sum(0)
        return grad_x, grad_weight, grad_bias, grad_spectrum, None, None


def _operands(rows: Tensor, weight: Tensor, delta: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """(a, b), a product over the given dimension of b being that of the rows with W + delta_W. May overwrite delta.

    In low precision W and delta_W stand side by side and the rows twice: the matrix product itself adds up the two, in
    its wide accumulator, and rounds once. Adding two products would round x W^T first and lose a small change to that.
    """
    if rows.dtype in LOW_PRECISION:
        return torch.cat([rows, rows], dim=1), torch.cat([weight.to(rows.dtype), delta.to(rows.dtype)], dim)
    return rows, delta.add_(weight)


def _wide_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b with a result of at least float32, whatever the operands' dtype."""
    if a.dtype not in LOW_PRECISION:
        return a @ b
    if a.is_cuda:  # tensor cores take the narrow operands and give the wide result
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()


def layer_shape(base: nn.Module) -> Shape | None:
    """(out, in) of a layer that FourierLinear can replace: `nn.Linear` or transformers' `Conv1D`; None of any other.

    Exact types: a subclass may hold its weight in another form (quantised) or have it read past its forward.
    """
    if type(base) is nn.Linear:
        return base.out_features, base.in_features
    if type(base).__name__ == "Conv1D" and isinstance(getattr(base, "nf", None), int):
        return base.nf, base.weight.shape[0]
    return None


class FourierLinear(nn.Module):
    """A linear layer with a FourierFT adapter; takes the place, and the parameters, of `base`.

    `weight` and `bias` are the base layer's own parameters under their own names, in its own orientation: (out, in)
    of an `nn.Linear`, (in, out) of a `Conv1D` (`fan_in_fan_out` is then true). `fourierft_spectrum`, (n,) float32
    (float64 if the weight is), holds the coefficients, zero at first: `reset_spectrum` draws them. They stay float32
    through `.half()` and the like.
    Raises FourierError for an unsupported layer and for n out of range.
    """

    def __init__(self, base: nn.Module, n: int, scale: float, entry_seed: int = 2024, band: Band | None = None) -> None:
        super().__init__()
        shape = layer_shape(base)
        if shape is None:
            raise FourierError(f"a {type(base).__name__} cannot be adapted: only nn.Linear and Conv1D can")
        check_n(shape, n, band)
        self.out_features, self.in_features = shape
        self.n, self.scale, self.entry_seed, self.band = n, scale, entry_seed, band
        self.fan_in_fan_out = not isinstance(base, nn.Linear)
        self.weight = base.weight
        self.register_parameter("bias", base.bias)
        wide = torch.float64 if base.weight.dtype == torch.float64 else torch.float32
        self.fourierft_spectrum = nn.Parameter(torch.zeros(n, dtype=wide, device=base.weight.device))
        # While merged: the frozen weight. A buffer, so that it moves with the model, but of no state dict.
        self.register_buffer("frozen_weight", None, persistent=False)
        self._held_plan: Plan | None = None
        self.train(base.training)

    @property
    def merged(self) -> bool:
        return self.frozen_weight is not None

    @torch.no_grad()
    def reset_spectrum(self, init: str) -> None:
        """Sets the coefficients: "normal", from N(0, 1) by the global CPU generator on every device, or "zeros"."""
        draw = torch.randn if init == "normal" else torch.zeros
        self.fourierft_spectrum.copy_(draw(self.n, device="cpu"))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in). Returns (..., out)."""
        weight = self.weight.t() if self.fan_in_fan_out else self.weight
        if self.merged:
            return nn.functional.linear(x, weight, self.bias)
        return fourier_linear(x, weight, self.bias, self.fourierft_spectrum, self._plan(), self.scale)

    @torch.no_grad()
    def delta_weight(self) -> Tensor:
        """delta_W, (out, in), in the dtype of the coefficients, detached."""
        return delta_weight(self.fourierft_spectrum, self._plan(), self.scale)

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

    def _plan(self) -> Plan:
        # Held here too: torch.compile looks through the cache of make_plan and would draw the entries in every call.
        device = self.fourierft_spectrum.device
        if self._held_plan is None or self._held_plan.slots.device != device:
            shape = (self.out_features, self.in_features)
            self._held_plan = make_plan(shape, self.n, self.entry_seed, self.band, device)
        return self._held_plan

    def _apply(self, fn, recurse=True):
        spectrum = self.fourierft_spectrum

        def keep_wide(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if (tensor is spectrum or tensor is spectrum.grad) and moved.dtype in LOW_PRECISION:
                return tensor.to(moved.device, torch.float32)
            return moved

        return super()._apply(keep_wide, recurse)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"n={self.n}, scale={self.scale}, entry_seed={self.entry_seed}"
            + (f", band={self.band}" if self.band else "")
            + (", merged" if self.merged else "")
        )

"""y = x (W + delta_W)^T + b with a frozen W, and a backward pass that saves next to nothing.

A layer saves its input x and its n coefficients for the backward pass; delta_W is formed again there, which costs a
fraction of one matrix product. x is saved only if the coefficients or the weight need a gradient, and a reference to
the frozen weight only if x does.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.weak import TensorWeakRef

from . import grid, tokens
from .choice import Algorithm
from .errors import FourierError
from .plan import BasisPlan, Plan
from .products import amplitude_grad, form, times
from .wide import LOW_PRECISION, wide_product


def fourier_linear(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    spectrum: Tensor,
    plan: Plan | BasisPlan,
    scale: float,
    algorithm: Algorithm = Algorithm(),  # noqa: B008 (immutable)
    dequantise: Callable[[Tensor], Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Equation 4: y = x (W + delta_W)^T + b; without a weight only the change, x delta_W^T.

    x: (..., in), weight: (out, in), bias: (out,) or None, all of one dtype unless autocast is active; spectrum: the
    coefficients, (n,), cast to float32 unless they are float64; plan: on the device of x. `dequantise` turns a
    quantised weight into an (out, in) one, in each pass, so that no dense copy is kept. `dtype`: what to compute in,
    instead of the dtype of x or of autocast.
    A spectrum (rows, n), in the Fourier basis, has the coefficients of each row of x: (rows, ..., in), or of each
    len(x) / rows rows. That is for inference: nothing may need a gradient.
    Returns (..., out) in that dtype; without a weight in the dtype of the coefficients. Differentiable once in x,
    weight, bias and spectrum. Raises FourierError if x and weight differ in dtype.
    """
    if spectrum.dim() == 2:  # delta_W differs from row to row, so that only its product with a row can be formed
        only = "grid" if isinstance(plan, Plan) and plan.grid else "tokens"
        algorithm = replace(algorithm, forward=only, gradient=only)
    if spectrum.dtype in LOW_PRECISION:
        spectrum = spectrum.float()  # from FSDP's mixed precision, which has rounded them
    if dtype is None and autocasts(x.device) and x.dtype != torch.float64:  # autocast leaves float64 alone
        dtype = torch.get_autocast_dtype(x.device.type)
    elif weight is not None and dequantise is None and x.dtype != weight.dtype:
        raise FourierError(f"the input is {x.dtype} but the layer's weight is {weight.dtype}: cast one or use autocast")
    algorithm = algorithm.resolve(plan, x.numel() // max(1, x.shape[-1]), spectrum.dtype, dtype or x.dtype)
    return _FourierProduct.apply(
        x, weight, bias, spectrum, plan, plan.unit(scale), algorithm, dtype or x.dtype, dequantise
    )


def autocasts(device: torch.device) -> bool:
    """Whether autocast is active on the device. "meta" has none; asking torch whether it has breaks graphs of 2.11."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def _as_given(device: torch.device) -> AbstractContextManager:
    """Disables autocast: the operands have been cast already, and it would also cast delta_W and G."""
    return torch.autocast(device.type, enabled=False) if autocasts(device) else nullcontext()


class _FourierProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        spectrum: Tensor,
        plan: Any,
        unit: float,
        algorithm: Algorithm,
        dtype: torch.dtype,
        dequantise: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        needs_x, needs_weight, _, needs_spectrum = ctx.needs_input_grad[:4]
        narrow, saved = _cast(x, dtype), None
        rows = narrow.reshape(-1, x.shape[-1])
        with _as_given(x.device):
            dense = _dense(weight, dtype, dequantise)
            a = spectrum * unit
            formed = form(a, plan, dense, algorithm, dtype)
            y = times(rows, dense, formed, plan, spectrum.dtype, algorithm, bias)
            projected = grid.project(rows, plan, spectrum.dtype) if algorithm.gradient == "grid" else None
            if algorithm.forward == "tokens":
                tokens.add_change_(y, rows, a, plan, compiled=algorithm.compiled)
            elif projected is not None:
                grid.add_change_(y, projected, a, plan, rows=dtype)
            y = y if weight is None else y.to(dtype)
        if needs_weight or (needs_spectrum and projected is None):
            narrower = algorithm.saved_dtype or dtype
            saved = _cast(x, narrower) if narrower.itemsize < dtype.itemsize else narrow
        elif needs_spectrum:
            saved = projected  # all that the coefficients need, and far less than x
        ctx.save_for_backward(
            saved,
            weight if needs_x else None,
            spectrum if needs_x else None,
            formed if needs_x and algorithm.memory == "keep" else None,
        )
        ctx.plan, ctx.unit, ctx.algorithm, ctx.dtype, ctx.dequantise = plan, unit, algorithm, dtype, dequantise
        ctx.x_dtype, ctx.wide = x.dtype, spectrum.dtype
        # Not a view, as for nn.Linear: autograd refuses in-place changes of a view, by ReLU(inplace=True) or +=.
        return torch.ops.aten._unsafe_view(y, (*x.shape[:-1], plan.shape[0]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, spectrum, formed = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, needs_spectrum = ctx.needs_input_grad[:4]
        grad_x = grad_weight = grad_bias = grad_spectrum = None
        plan, algorithm = ctx.plan, ctx.algorithm
        rows = g.reshape(-1, g.shape[-1]).to(ctx.dtype)
        by_tokens = needs_spectrum and algorithm.gradient == "tokens"
        with _as_given(g.device):
            projected = grid.project(rows, plan, ctx.wide, adjoint=True) if algorithm.gradient == "grid" else None
            if needs_x:
                dense, a = _dense(weight, ctx.dtype, ctx.dequantise), spectrum * ctx.unit
                if formed is None:
                    formed = form(a, plan, dense, algorithm, ctx.dtype)
                grad_x = times(rows, dense, formed, plan, ctx.wide, algorithm, adjoint=True)
                if projected is not None:
                    grid.add_change_(grad_x, projected, a, plan, adjoint=True, rows=ctx.dtype)
                elif algorithm.forward == "tokens" and not by_tokens:
                    tokens.add_change_(grad_x, rows, a, plan, adjoint=True, compiled=algorithm.compiled)
            if needs_weight or (needs_spectrum and projected is None):
                inputs = x.reshape(-1, x.shape[-1])
            if needs_weight:
                grad_weight = wide_product(rows.t(), inputs)
            if by_tokens:  # g is transformed once, for both gradients
                into = (grad_x, a) if grad_x is not None and algorithm.forward == "tokens" else None
                grad_spectrum = tokens.backward_(inputs, rows, plan, ctx.wide, into, algorithm.compiled)
            elif needs_spectrum and projected is not None:
                x_projected = grid.project(inputs, plan, ctx.wide) if needs_weight else x
                grad_spectrum = grid.amplitude_grad(x_projected, projected)
            elif needs_spectrum:
                grad_spectrum = amplitude_grad(inputs, rows, plan)
            if grad_spectrum is not None:
                grad_spectrum *= ctx.unit
            if grad_x is not None:
                grad_x = grad_x.to(ctx.x_dtype).view(*g.shape[:-1], plan.shape[1])
            if needs_bias:
                grad_bias = rows.sum(0)
        return grad_x, grad_weight, grad_bias, grad_spectrum, None, None, None, None, None


def _dense(weight: Tensor | None, dtype: torch.dtype, dequantise: Callable[[Tensor], Tensor] | None) -> Tensor | None:
    if weight is None:
        return None
    return (weight if dequantise is None else dequantise(weight)).to(dtype)


# The last tensor that was cast, its version at that time, and the result: weak references, which keep nothing alive.
_last_cast: tuple[TensorWeakRef, int, TensorWeakRef] | None = None


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in `dtype`. Consecutive layers with the same x, such as a query and a value, get, and save, the same tensor."""
    global _last_cast
    if x.dtype == dtype:  # not x.to(dtype): torch.compile takes that for another tensor of the same memory
        return x
    if torch.compiler.is_compiling() or x.is_inference():  # torch.compile cannot trace is_inference
        return x.to(dtype)
    last = _last_cast  # read once: another thread may replace it
    if last is not None:
        source, version, result = last[0](), last[1], last[2]()
        if source is x and x._version == version and result is not None and result.dtype == dtype:
            return result
    result = x.to(dtype)
    _last_cast = TensorWeakRef(x), x._version, TensorWeakRef(result)
    return result

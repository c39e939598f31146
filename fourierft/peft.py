"""Runs the FourierFT layers of Hugging Face PEFT by this library: the same results, in less time and memory.

    import fourierft.peft

    fourierft.peft.install()    # all FourierFT layers of PEFT in this process, existing or created later
    fourierft.peft.uninstall()  # PEFT's own code again

Only the computation in the layers is replaced; adapters, files and calls stay PEFT's.

In eval mode nn.TransformerEncoderLayer reads weights without calling the layers of PEFT, whether this library is
installed or not: `torch.backends.mha.set_fastpath_enabled(False)` prevents that.

Run a model once before `torch.compile`, on its device and with its adapters active: the first run draws the positions,
which cannot be traced. Otherwise the graph breaks at every layer, and with `fullgraph=True` there is an error.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .entries import Entries
from .errors import FourierError
from .function import autocasts, fourier_linear
from .linear import dense_shape
from .plan import BasisPlan, Plan, make_plan
from .products import delta_weight

# PEFT's own forward while this library is installed.
_peft_forward: Any = None


def install() -> None:
    """Makes PEFT's FourierFT layers compute by this library. Does nothing if they already do.

    Raises FourierError if PEFT is not installed, or its FourierFT layer lacks the methods to replace.
    """
    global _peft_forward
    layer = _layer_class()
    if _peft_forward is None:
        _peft_forward = layer.forward
        layer.forward, layer.get_delta_weight = _forward, _get_delta_weight


def uninstall() -> None:
    """Restores PEFT's own functions. Does nothing if they are not replaced."""
    global _peft_forward
    if _peft_forward is not None:
        layer = _layer_class()
        layer.forward = _peft_forward
        del layer.get_delta_weight  # inherited from the base class
        _peft_forward = None


def _layer_class() -> Any:
    try:
        from peft.tuners.fourierft.layer import FourierFTLayer, FourierFTLinear
    except ImportError as error:
        raise FourierError(f"PEFT's FourierFT cannot be imported ({error}): pip install peft") from error
    if "forward" not in vars(FourierFTLinear) or "get_delta_weight" not in vars(FourierFTLayer):
        raise FourierError("PEFT's FourierFT layer has no forward or get_delta_weight to replace: this PEFT is unknown")
    return FourierFTLinear


def _get_delta_weight(self: Any, adapter: str) -> Tensor:
    """delta_W of one adapter, (out, in), in the dtype of its coefficients; differentiable."""
    spectrum, plan, scale = _sum(self, [adapter])
    return delta_weight(spectrum * plan.unit(scale), plan).to(self.fourierft_spectrum[adapter].dtype)


def _forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """As PEFT's: (..., in) to (..., out) in the dtype of x, with the changes of all active adapters added."""
    adapters = [name for name in self.active_adapters if name in self.fourierft_spectrum]
    if self.disable_adapters or self.merged or not adapters:
        return _peft_forward(self, x, *args, **kwargs)
    change, base = _sum(self, adapters), self.base_layer
    if not args and not kwargs and _is_plain(base, x):
        weight = base.weight if isinstance(base, nn.Linear) else base.weight.t()
        return fourier_linear(x, weight, base.bias, *change).to(x.dtype)
    result = base(x, *args, **kwargs)
    return (result + fourier_linear(x, None, None, *change)).to(x.dtype)


def _sum(self: Any, adapters: list[str]) -> tuple[Tensor, Plan | BasisPlan, float]:
    """Coefficients, in at least float32, plan and scale of the sum of the changes of the adapters."""
    spectra = [self.fourierft_spectrum[name] for name in adapters]
    wide = [c if c.dtype == torch.float64 else c.float() for c in spectra]
    entries = (Entries(self.fourierft_n_frequency[name], self.fourierft_random_loc_seed[name]) for name in adapters)
    plan = make_plan((self.out_features, self.in_features), spectra[0].device, *entries)
    scales = [self.fourierft_scaling[name] for name in adapters]
    if len(adapters) == 1:
        return wide[0], plan, scales[0]
    return torch.cat([c * scale for c, scale in zip(wide, scales, strict=True)]), plan, 1.0


def _is_plain(base: Any, x: Tensor) -> bool:
    """Whether the layer only multiplies by its weight: it is of no subclass and has no hooks."""
    return (
        dense_shape(base) is not None
        and not (base._forward_hooks or base._forward_pre_hooks or base._backward_hooks or base._backward_pre_hooks)
        and "forward" not in vars(base)  # replaced by offloading
        and not hasattr(base.weight, "ds_id")  # DeepSpeed: gathered only while the layer is called
        and (x.dtype == base.weight.dtype or autocasts(x.device))
    )

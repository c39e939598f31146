"""The FourierFT layers of Hugging Face PEFT, run by this library: the same numbers, in less time and memory.

    import fourierft.peft

    fourierft.peft.install()    # every FourierFT layer of PEFT in this process, made before or after
    fourierft.peft.uninstall()  # PEFT's own code again

Adapters, files and every call of PEFT stay what they are: only how a layer computes is replaced.
"""

import torch
from torch import Tensor, nn

from .errors import FourierError
from .function import fourier_linear
from .linear import layer_shape
from .plan import Plan, join_plans, make_plan
from .spectral import delta_weight

# PEFT's own functions while ours are in their place.
_originals: dict[str, object] = {}


def install() -> None:
    """Puts this library under PEFT's FourierFT layers. Does nothing if it is there already.

    Raises FourierError if PEFT is not installed, or its FourierFT layer is not as this library knows it.
    """
    ours = {"forward": _forward, "get_delta_weight": _get_delta_weight}
    layer = _layer_class()
    if not _originals:
        _originals.update((name, getattr(layer, name)) for name in ours)
        for name, function in ours.items():
            setattr(layer, name, function)


def uninstall() -> None:
    """Restores PEFT's own functions. Does nothing if they are in place."""
    if _originals:
        layer = _layer_class()
        layer.forward = _originals["forward"]
        del layer.get_delta_weight  # it is its base class's
        _originals.clear()


def _layer_class() -> type[nn.Module]:
    try:
        from peft.tuners.fourierft.layer import FourierFTLayer, FourierFTLinear
    except ImportError as error:
        raise FourierError(f"PEFT's FourierFT cannot be imported ({error}): pip install peft") from error
    if "forward" not in vars(FourierFTLinear) or "get_delta_weight" not in vars(FourierFTLayer):
        raise FourierError("PEFT's FourierFT layer has no forward or get_delta_weight to replace: this PEFT is unknown")
    return FourierFTLinear


def _get_delta_weight(self, adapter: str) -> Tensor:
    """delta_W of one adapter, (out, in), in the dtype of its coefficients; differentiable."""
    spectrum = self.fourierft_spectrum[adapter]
    return delta_weight(_wide(spectrum), _plan(self, adapter), self.fourierft_scaling[adapter]).to(spectrum.dtype)


def _forward(self, x: Tensor, *args, **kwargs) -> Tensor:
    """PEFT's contract: (..., in) to (..., out) in the dtype of x, the changes of all active adapters added."""
    adapters = [name for name in self.active_adapters if name in self.fourierft_spectrum]
    if self.disable_adapters or self.merged or not adapters:
        return _originals["forward"](self, x, *args, **kwargs)
    if len(adapters) == 1:
        scale = self.fourierft_scaling[adapters[0]]
        spectrum, plan = _wide(self.fourierft_spectrum[adapters[0]]), _plan(self, adapters[0])
    else:  # a sum of changes is the change of all their coefficients together
        scale, plan = 1.0, join_plans(*(_plan(self, name) for name in adapters))
        spectrum = torch.cat([_wide(self.fourierft_spectrum[name]) * self.fourierft_scaling[name] for name in adapters])
    base = self.base_layer
    if not args and not kwargs and _is_plain(base, x):
        weight = base.weight if isinstance(base, nn.Linear) else base.weight.t()
        return fourier_linear(x, weight, base.bias, spectrum, plan, scale).to(x.dtype)
    result = base(x, *args, **kwargs)
    return (result + fourier_linear(x, None, None, spectrum, plan, scale)).to(x.dtype)


def _plan(self, adapter: str) -> Plan:
    spectrum, shape = self.fourierft_spectrum[adapter], (self.out_features, self.in_features)
    return make_plan(shape, len(spectrum), self.fourierft_random_loc_seed[adapter], None, spectrum.device)


def _wide(spectrum: Tensor) -> Tensor:
    return spectrum if spectrum.dtype == torch.float64 else spectrum.float()


def _is_plain(base: nn.Module, x: Tensor) -> bool:
    """Whether the product with the weight is all that the layer does: no subclass, and nothing hooked into the call."""
    return (
        layer_shape(base) is not None
        and not (base._forward_hooks or base._forward_pre_hooks or base._backward_hooks or base._backward_pre_hooks)
        and "forward" not in vars(base)  # replaced by offloading
        and not hasattr(base.weight, "ds_id")  # DeepSpeed: gathered only while the layer is called
        and (x.dtype == base.weight.dtype or torch.is_autocast_enabled(x.device.type))
    )

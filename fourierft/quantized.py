"""The FourierFT layer over a weight that bitsandbytes stores in 8 or 4 bits: the weight stays quantised, delta_W exact.

With 4 bits bitsandbytes dequantises the weight for every product, and so does this layer: W and delta_W take part in
one product, as for a dense weight. With 8 bits it multiplies by a product of its own, which also rounds the inputs, and
whose results have the precision of float16; the change is added to those in float32.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn

from .entries import Entries, Shape
from .errors import FourierError
from .function import fourier_linear
from .layer import FourierLayer


def quantized_shape(base: Any) -> Shape | None:
    """(out, in) of bitsandbytes' Linear4bit or Linear8bitLt; None for any other layer."""
    if type(base).__module__.startswith("bitsandbytes.") and type(base).__name__ in ("Linear4bit", "Linear8bitLt"):
        return base.out_features, base.in_features
    return None


class QuantizedFourierLinear(FourierLayer):
    """A linear layer of bitsandbytes with a FourierFT adapter; the layer itself is `base_layer`.

    The output has the dtype of x, any floating one. Cannot be merged: the sum would have to be rounded to 8 or 4 bits.
    Raises FourierError for another layer, and what `FourierLayer` raises.
    """

    def __init__(self, base: nn.Module, entries: Entries, scale: float) -> None:
        shape = quantized_shape(base)
        if shape is None:
            raise FourierError(f"a {type(base).__name__} is not a Linear4bit or Linear8bitLt of bitsandbytes")
        super().__init__(base, shape, entries, scale)
        self.base_layer: Any = base
        self._take_over(base)

    def product(self, x: Tensor) -> Tensor:
        """Returns (..., out) in the dtype of x."""
        base, spectrum = self.base_layer, self.coefficients(x)
        if spectrum is None:
            return base(x)
        adapter = spectrum, self.plan, self.scale, self.algorithm
        if type(base).__name__ == "Linear8bitLt":
            return (base(x.float()) + fourier_linear(x, None, None, *adapter)).to(x.dtype)
        from bitsandbytes.functional import dequantize_4bit

        if getattr(self._quant_state(), "packing_format_for_cpu", False):
            base.state_dict()  # restores the order of the bits, which its own forward changes on a CPU in eval mode
        if self._quant_state() is None:
            raise FourierError("the Linear4bit is not quantised yet: move the model to its device first")
        dequantize = partial(dequantize_4bit, quant_state=self._quant_state())
        return fourier_linear(x, base.weight, base.bias, *adapter, dequantize, base.compute_dtype).to(x.dtype)

    def _quant_state(self) -> Any:
        """That of the weight, or, if FSDP has made the weight a plain parameter, the copy that the layer keeps."""
        return getattr(self.base_layer.weight, "quant_state", None) or self.base_layer.quant_state

    def merged_weight(self) -> tuple[Tensor, float]:
        """Always raises FourierError."""
        raise FourierError(
            f"delta_W cannot be merged into a {type(self.base_layer).__name__}: load the model unquantised, "
            "fourierft.load the adapter into it, and merge there"
        )

"""The FourierFT layer over a weight that bitsandbytes keeps in 8 or 4 bits: the weight stays, delta_W is exact.

In 4 bits bitsandbytes turns the weight into a dense one for every product, and so does this layer: W and delta_W then
meet in one product, as over a dense weight. In 8 bits its own product stays, which rounds the inputs too: the change is
added to it in float32. (float16 is the grid of its results, whatever the model's type.)
"""

from functools import partial
from typing import Any

from torch import Tensor, nn

from .entries import Entries, Shape
from .errors import FourierError
from .function import fourier_linear
from .layer import FourierLayer


def quantized_shape(base: Any) -> Shape | None:
    """(out, in) of bitsandbytes' Linear4bit or Linear8bitLt; None of any other layer."""
    if type(base).__module__.startswith("bitsandbytes.") and type(base).__name__ in ("Linear4bit", "Linear8bitLt"):
        return base.out_features, base.in_features
    return None


class QuantizedFourierLinear(FourierLayer):
    """A bitsandbytes linear layer with a FourierFT adapter; the layer is kept whole as `base_layer`.

    x may be of any floating dtype; the output has it too. Cannot be merged: the sum would have to be rounded to 8 or 4
    bits. Raises FourierError for another layer, and for what `FourierLayer` refuses.
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
        base, adapter = self.base_layer, (self.fourierft_spectrum, self.plan, self.scale, self.algorithm)
        if type(base).__name__ == "Linear8bitLt":
            return (base(x.float()) + fourier_linear(x, None, None, *adapter)).to(x.dtype)
        from bitsandbytes.functional import dequantize_4bit

        if getattr(self._quant_state(), "packing_format_for_cpu", False):
            base.state_dict()  # undoes what its own forward does on a CPU in eval mode: another order of the bits
        if self._quant_state() is None:
            raise FourierError("the Linear4bit is not quantised yet: move the model to its device first")
        dequantize = partial(dequantize_4bit, quant_state=self._quant_state())
        return fourier_linear(x, base.weight, base.bias, *adapter, dequantize, base.compute_dtype).to(x.dtype)

    def _quant_state(self) -> Any:
        """Of the weight, or, where FSDP has made that a plain parameter, as the layer keeps it aside."""
        return getattr(self.base_layer.weight, "quant_state", None) or self.base_layer.quant_state

    def merged_weight(self) -> tuple[Tensor, float]:
        """Raises FourierError: always."""
        raise FourierError(
            f"delta_W cannot be merged into a {type(self.base_layer).__name__}: load the model unquantised, "
            "fourierft.load the adapter into it, and merge there"
        )

    def unmerge(self) -> None:
        """Does nothing: this layer is never merged."""

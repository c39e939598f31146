"""FourierFT: fine-tune a frozen model by a few Fourier coefficients of each weight's change (ICML 2024).

    config = fourierft.FourierConfig(n=1000, scale=150.0, targets=("query", "value"), head=("classifier",))
    fourierft.adapt(model, config)      # freezes the model, puts n trainable coefficients into each matched layer
    ...                                 # train as ever; fourierft.check_gradients(model) after the first backward pass
    fourierft.save(model, "adapter/")   # 4 n bytes a layer; loads in PEFT too
    fourierft.load(model, "adapter/")   # into a plain or an adapted model, from a file of this library or of PEFT
    fourierft.merge(model)              # no cost at inference; fourierft.unmerge(model) takes it back, bit for bit
    fourierft.use(model, memory="keep") # how the layers compute; the library's own choice needs no such line

The paper's definition stands in `reference.py`. The fast exact forms of it are `spectral.py` and, by a Triton kernel,
`kernel.py`, which form delta_W; and `tokens.py`, which does not (`native.py` in C, `kernel_tokens.py` by Triton,
`spectra.py` by torch). `choice.py` says which is run when, `function.py` makes one differentiable function of them, and
`linear.py` a layer. `fourierft.peft` puts that function under the layers of PEFT. Beyond the paper are positions on a
grid (`grid.py`) and other bases (`bases.py`).
"""

from . import reference
from .bases import BASES
from .choice import Algorithm
from .config import FourierConfig
from .entries import Entries, band_log_probability
from .errors import FourierError
from .function import fourier_linear
from .io import digest, load, save
from .linear import FourierLinear, dense_shape
from .model import Count, adapt, check_gradients, count, delta_weights, fourier_layers, merge, unmerge, use
from .parts import matches, part_rows, split_target
from .quantized import QuantizedFourierLinear, quantized_shape

__version__ = "0.1.0"

__all__ = [
    "BASES",
    "Algorithm",
    "Count",
    "Entries",
    "FourierConfig",
    "FourierError",
    "FourierLinear",
    "QuantizedFourierLinear",
    "adapt",
    "band_log_probability",
    "check_gradients",
    "count",
    "delta_weights",
    "dense_shape",
    "digest",
    "fourier_layers",
    "fourier_linear",
    "load",
    "matches",
    "merge",
    "part_rows",
    "quantized_shape",
    "reference",
    "save",
    "split_target",
    "unmerge",
    "use",
]

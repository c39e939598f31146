"""FourierFT: fine-tune a frozen model by a few Fourier coefficients of each weight's change (ICML 2024).

    config = fourierft.FourierConfig(n=1000, scale=150.0, targets=("query", "value"), head=("classifier",))
    fourierft.adapt(model, config)      # freezes the model, puts n trainable coefficients into each matched layer
    ...                                 # train as ever
    fourierft.save(model, "adapter/")   # 4 n bytes a layer; loads in PEFT too
    fourierft.load(model, "adapter/")   # into a plain or an adapted model, from a file of this library or of PEFT
    fourierft.merge(model)              # no cost at inference; fourierft.unmerge(model) takes it back, bit for bit

The paper's definition stands in `reference.py`, the fast exact forms in `spectral.py`, the layer in `linear.py`.
"""

from .config import FourierConfig
from .entries import sample_entries
from .errors import FourierError
from .io import load, save
from .linear import FourierLinear, fourier_linear
from .model import Count, adapt, count, delta_weights, fourier_layers, merge, unmerge

__version__ = "0.1.0"

__all__ = [
    "Count",
    "FourierConfig",
    "FourierError",
    "FourierLinear",
    "adapt",
    "count",
    "delta_weights",
    "fourier_layers",
    "fourier_linear",
    "load",
    "merge",
    "sample_entries",
    "save",
    "unmerge",
]

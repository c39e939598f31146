"""The public names whose modules import torch: `import fourierft` loads them when one is first asked for."""

# ruff: noqa: F401 (what `__init__.py` hands on)
from . import reference
from .allocation import allocate
from .bank import Bank
from .bases import BASES
from .checkpoints import light_checkpoints
from .choice import Algorithm
from .config import FourierConfig
from .entries import Entries, band_log_probability
from .function import fourier_linear
from .io import digest, load, save
from .linear import FourierLinear, dense_shape
from .lora import to_lora
from .model import Count, adapt, check_gradients, count, delta_weights, fourier_layers, merge, unmerge, use
from .parts import matches, part_rows, split_target
from .quantized import QuantizedFourierLinear, quantized_shape
from .targets import all_linear

"""FourierFT: fine-tune a frozen model by a few Fourier coefficients of each weight's change (ICML 2024).

    config = fourierft.FourierConfig(n=1000, scale=150.0, targets=("query", "value"), head=("classifier",))
    fourierft.adapt(model, config)      # freezes the model; each matched layer gets n trainable coefficients
    ...                                 # train as usual; fourierft.check_gradients(model) after the first backward pass
    fourierft.save(model, "adapter/")   # 4 n bytes per layer; PEFT can load it
    fourierft.load(model, "adapter/")   # a file of this library or of PEFT, into a plain or an adapted model
    fourierft.to_lora(model, "lora/")   # the same as a LoRA, exactly if the positions are a grid
    fourierft.merge(model)              # no cost at inference; fourierft.unmerge(model) undoes it, bit for bit
    fourierft.use(model, memory="keep") # overrides how the layers compute; rarely needed
    bank = fourierft.Bank.over(model, "adapters/")  # thousands over one model, an adapter for each row of a batch

With scale="auto" (`scale.py`) a learning rate found at one n is near the best at others; targets="all-linear" adapts
every linear layer; `n_pattern` gives modules their own n, which `allocate` finds from gradients (`allocation.py`).

`reference.py` is the paper's definition. `spectral.py` and `kernel.py` (in Triton) form delta_W exactly but faster;
`tokens.py` applies it without forming it, also in C (`native.py`) and in Triton (`kernel_tokens.py`). `choice.py`
chooses among them, `function.py` makes them one differentiable function, `linear.py` a layer. `fourierft.peft` runs the
layers of PEFT by that function. Beyond the paper are positions on a grid (`grid.py`), other bases (`bases.py`), and
many adapters over one model (`bank.py`).
"""

from typing import TYPE_CHECKING, Any

from .errors import FourierError
from .scale import auto_movement, movement, unit_movement

if TYPE_CHECKING:
    from .public import *  # noqa: F403

__version__ = "0.1.0"

__all__ = [  # noqa: F405
    "BASES",
    "Algorithm",
    "Bank",
    "Count",
    "Entries",
    "FourierConfig",
    "FourierError",
    "FourierLinear",
    "QuantizedFourierLinear",
    "adapt",
    "all_linear",
    "allocate",
    "auto_movement",
    "band_log_probability",
    "check_gradients",
    "count",
    "delta_weights",
    "dense_shape",
    "digest",
    "fourier_layers",
    "fourier_linear",
    "light_checkpoints",
    "load",
    "matches",
    "merge",
    "movement",
    "part_rows",
    "quantized_shape",
    "reference",
    "save",
    "split_target",
    "to_lora",
    "unit_movement",
    "unmerge",
    "use",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A public name that needs torch, which takes seconds to import: errors and the rule of scales do without."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import public

        return getattr(public, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

"""BitFit (Ben Zaken et al. 2021): every bias of the encoder trains, the weights do not, and the head trains whole.

The biases of the layer norms count, as in the paper's code (the terms called `bias`). No matrix changes: no delta_W.
"""

from typing import Literal

from experiments.methods.base import Method


class BitFit(Method):
    """Biases only."""

    name: Literal["bitfit"]

    def trains(self, name: str) -> bool:
        return name.endswith(".bias")

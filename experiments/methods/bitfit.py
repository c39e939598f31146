"""BitFit (Ben Zaken et al. 2021): every bias of the encoder trains, the weights do not, and the head trains whole.

The biases of the layer norms are included, also that of the embeddings, as in the paper's code (terms called `bias`):
102,144 on RoBERTa-base, 271,360 on RoBERTa-large. No matrix changes: no delta_W.
"""

from typing import Literal

from experiments.methods.base import Method


class BitFit(Method):
    """Biases only."""

    name: Literal["bitfit"]

    def trains(self, name: str) -> bool:
        return name.endswith(".bias")

"""The head alone on the frozen encoder: the floor. (Linear probing, `LP`, in the paper's Table 5.)"""

from typing import Literal

from experiments.methods.base import Method


class HeadOnly(Method):
    """Nothing of the encoder trains."""

    name: Literal["head_only"]

"""The scale that carries over: scale="auto" makes one learning rate suit every width, depth and number of coefficients.

With s = scale / sqrt(2 d1 d2) the n cosines of a matrix have unit norm, so that ||delta_W|| = s ||c|| (Frobenius). A
step of Adam moves each coefficient by about the learning rate: a matrix by lr s sqrt(n), and a model by

    movement * lr,   movement = sqrt(sum over its matrices of s^2 n)

The published recipes differ in scale and rate, and agree in this product: 0.9 for RoBERTa-base, RoBERTa-large and
GPT-2 medium (geometric means over their tasks), 0.4 to 1.3 for LLaMA. The rule sets movement = 9, in equal shares for
all M matrices, scale = 9 sqrt(2 d1 d2 / (n M)); the published rates are then near lr = 0.1. Short runs want more.
"""

import math
from collections.abc import Sequence

from .layer import FourierLayer

MOVEMENT = 9.0


def movement(layers: Sequence[FourierLayer]) -> float:
    """How far a step of Adam moves the weights of all layers together: Frobenius norm per unit of the learning rate."""
    return math.sqrt(sum(_matrices(layer) * (layer.scale / _unit(layer)) ** 2 for layer in layers))


def set_scales(layers: Sequence[FourierLayer]) -> float:
    """Sets the scale of every layer by the rule; returns the smallest.

    An adapter's file, which is PEFT's, has one scale for all matrices; other scales are there in the coefficients. So
    that these lose nothing, each scale is the smallest times a power of two: the nearest to the rule, at most sqrt(2)
    from it. The movement is exactly the rule's.
    """
    units = [_unit(layer) for layer in layers]
    powers = [2.0 ** round(math.log2(unit / min(units))) for unit in units]
    shares = [_matrices(layer) * (power / unit) ** 2 for layer, power, unit in zip(layers, powers, units, strict=True)]
    smallest = MOVEMENT / math.sqrt(sum(shares))
    for layer, power in zip(layers, powers, strict=True):
        layer.scale = smallest * power
    return smallest


def _unit(layer: FourierLayer) -> float:
    """The scale with which a step of Adam at rate 1 moves each matrix of the layer by 1."""
    return math.sqrt(2 * math.prod(layer.matrix_shape) / layer.entries.n)


def _matrices(layer: FourierLayer) -> int:
    return max(1, len(layer.parts))

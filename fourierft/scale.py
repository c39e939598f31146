"""The scale that carries over: scale="auto" makes one learning rate suit every width, depth and number of coefficients.

With s = scale / sqrt(2 d1 d2) the n cosines of a matrix have unit norm, so that ||delta_W|| = s ||c|| (Frobenius). A
step of Adam moves each coefficient by about the learning rate: a matrix by lr s sqrt(n), and a model by

    movement * lr,   movement = sqrt(sum over its matrices of s^2 n)

The published recipes differ in scale and rate, and most agree in this product: 0.9 for RoBERTa-base, by the official
scripts, for RoBERTa-large (geometric means over their tasks) and for GPT-2 medium, 0.35 to 1.3 for LLaMA. Outside lie
GPT-2 large, 2.2, ViT, 15 to 24, and PEFT's defaults, 0.002. `results/tables/movement.md` has them all; there
RoBERTa-base as printed has 0.6, because of one rate that the scripts do not confirm. The rule is fitted to these: it
sets movement = 9, in equal shares for all M matrices, scale = 9 sqrt(2 d1 d2 / (n M)), so that those recipes have rates
near 0.1. Short runs want more.
"""

import math
from collections.abc import Sequence

from .entries import Shape
from .layer import FourierLayer

MOVEMENT = 9.0


def movement(layers: Sequence[FourierLayer]) -> float:
    """How far a step of Adam moves the weights of all layers together: Frobenius norm per unit of the learning rate."""
    return math.sqrt(math.fsum(matrices(layer) * (layer.scale / unit(layer)) ** 2 for layer in layers))


def set_scales(layers: Sequence[FourierLayer]) -> float:
    """Sets the scale of every layer by the rule; returns the smallest.

    An adapter's file, which is PEFT's, has one scale for all matrices; other scales are there in the coefficients. So
    that these lose nothing, each scale is the smallest times the power of two that is nearest to the rule; a factor
    common to all makes the movement exactly the rule's. No scale is more than 2 times from the rule. Any basis, a grid,
    a part and a quantised weight count alike: their atoms have the same norm.

    A plain model into which the file is loaded has the one scale everywhere: the same delta_W, but other steps if it is
    trained further. For the same steps, adapt with "auto", then load.
    """
    units = [unit(layer) for layer in layers]
    powers = [2.0 ** round(math.log2(each / min(units))) for each in units]
    shares = [matrices(layer) * (power / each) ** 2 for layer, power, each in zip(layers, powers, units, strict=True)]
    smallest = MOVEMENT / math.sqrt(math.fsum(shares))  # fsum: the same in every version of Python
    for layer, power in zip(layers, powers, strict=True):
        layer.scale = smallest * power
    return smallest


def unit_scale(shape: Shape, n: int) -> float:
    """The scale with which a step of Adam at rate 1 moves an (out, in) matrix of n coefficients by 1 (Frobenius)."""
    return math.sqrt(2 * math.prod(shape) / n)


def unit(layer: FourierLayer) -> float:
    """`unit_scale` of each matrix of the layer."""
    return unit_scale(layer.matrix_shape, layer.entries.n)


def matrices(layer: FourierLayer) -> int:
    """How many matrices the layer adapts: its parts, or itself."""
    return max(1, len(layer.parts))

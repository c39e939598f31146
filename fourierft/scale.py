"""The scale that carries over: with scale="auto" a learning rate found at one n or depth is near the best at others.

With s = scale / sqrt(2 d1 d2) the n cosines of a matrix have unit norm, so that ||delta_W|| = s ||c|| (Frobenius). A
step of Adam moves each coefficient by about the learning rate: a matrix by lr s sqrt(n), and a model by

    movement * lr,   movement = sqrt(sum over its matrices of s^2 n)

Measured in short runs of six models (`results/tables/study_transfer.md`), movement * lr of a model's best rate hardly
depends on the number of matrices, nor on n up to about a third of the width; beyond that it falls about as 1 / sqrt(n),
since a step then follows so much of the gradient that its effect, which grows as lr s n, sets the limit. So the rule
is, for a matrix of width d = sqrt(d1 d2) and for M matrices,

    scale = 12 sqrt(2 d1 d2 / (n M)) min(1, sqrt(d / 3n))

with the 12 such that the published recipes have rates near 0.1: 0.15 for RoBERTa-base by the official scripts, 0.13 for
RoBERTa-large (geometric means over their tasks) and GPT-2 medium, 0.03 to 0.11 for LLaMA. Outside lie GPT-2 large, ViT
and PEFT's defaults: `results/tables/movement.md` has them all. What remains, a factor of ten and more between models
and tasks, has to be searched; short runs want more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .entries import Shape
    from .layer import FourierLayer

MOVEMENT = 12.0


def movement(layers: Sequence[FourierLayer]) -> float:
    """How far a step of Adam moves the weights of all layers together: Frobenius norm per unit of the learning rate."""
    return math.sqrt(math.fsum(matrices(layer) * (layer.scale / unit(layer)) ** 2 for layer in layers))


def unit_movement(matrices: Iterable[tuple[Shape, int]]) -> float:
    """The movement of matrices of these (out, in) shapes and numbers of coefficients at a scale of 1."""
    return math.hypot(*(1 / unit_scale(shape, n) for shape, n in matrices))


def auto_movement(matrices: Iterable[tuple[Shape, int]]) -> float:
    """The movement that the rule gives to matrices of these (out, in) shapes and numbers of coefficients."""
    shares = [_share(shape, n) ** 2 for shape, n in matrices]
    return MOVEMENT * math.sqrt(math.fsum(shares) / len(shares))  # fsum: the same in every version of Python


def set_scales(layers: Sequence[FourierLayer]) -> float:
    """Sets the scale of every layer by the rule; returns the smallest.

    An adapter's file, which is PEFT's, has one scale for all matrices; other scales are there in the coefficients. So
    that these lose nothing, each scale is the smallest times the power of two that is nearest to the rule; a factor
    common to all makes the movement exactly the rule's. No scale is more than 2 times from the rule. Any basis, a grid,
    a part and a quantised weight count alike: their atoms have the same norm.

    The file says so, and a plain model into which `load` loads it gets the same scales. PEFT, a bank, and `load` from a
    file that does not say so have the one scale everywhere: the same delta_W, but other steps if trained further.
    """
    wanted = [unit(layer) * _share(layer.matrix_shape, layer.entries.n) for layer in layers]
    for layer, scale in zip(layers, wanted, strict=True):
        layer.scale = 2.0 ** round(math.log2(scale / min(wanted)))
    each = [(layer.matrix_shape, layer.entries.n) for layer in layers for _ in range(matrices(layer))]
    smallest = auto_movement(each) / movement(layers)
    for layer in layers:
        layer.scale *= smallest
    return smallest


def _share(shape: Shape, n: int) -> float:
    """What the rule leaves of the movement of a matrix with so many coefficients."""
    return min(1.0, math.sqrt(math.sqrt(math.prod(shape)) / (3 * n)))


def unit_scale(shape: Shape, n: int) -> float:
    """The scale with which a step of Adam at rate 1 moves an (out, in) matrix of n coefficients by 1 (Frobenius)."""
    return math.sqrt(2 * math.prod(shape) / n)


def unit(layer: FourierLayer) -> float:
    """`unit_scale` of each matrix of the layer."""
    return unit_scale(layer.matrix_shape, layer.entries.n)


def matrices(layer: FourierLayer) -> int:
    """How many matrices the layer adapts: its parts, or itself."""
    return max(1, len(layer.parts))

"""Parts of a fused projection: q, k and v, stacked in this order, each a square matrix as wide as the input."""

from .entries import Shape
from .errors import FourierError

PARTS = ("q", "k", "v")


def split_target(target: str) -> tuple[str, tuple[str, ...]]:
    """Splits "c_attn:q,v" into ("c_attn", ("q", "v")). No parts for a plain name or an invalid selection."""
    name, _, listed = target.partition(":")
    parts = tuple(part for part in PARTS if part in listed.split(","))
    return name, parts if ",".join(parts) == listed else ()


def matches(name: str, path: str) -> bool:
    """PEFT's rule for module names: `name` is the whole path or its end after a dot."""
    return path == name or path.endswith("." + name)


def matrix_shape(shape: Shape, parts: tuple[str, ...]) -> Shape:
    """The (out, in) of each adapted matrix of a layer of this (out, in) shape: of a part, or of the whole layer.

    Raises FourierError if there are parts and the layer does not have the shape of a fused projection.
    """
    out, width = shape
    if parts and out != len(PARTS) * width:
        raise FourierError(
            f"{','.join(parts)} of a layer with {width} inputs and {out} outputs cannot be adapted: only a fused "
            f"projection with q, k and v of {width} outputs each can be cut"
        )
    return (width, width) if parts else shape


def part_rows(shape: Shape, parts: tuple[str, ...]) -> dict[str, slice]:
    """The rows of an (out, in) weight that each part takes; without parts all rows, under "".

    Raises FourierError if there are parts and the layer does not have the shape of a fused projection.
    """
    height, _ = matrix_shape(shape, parts)
    starts = {part: i * height for i, part in enumerate(PARTS) if part in parts} or {"": 0}
    return {part: slice(start, start + height) for part, start in starts.items()}

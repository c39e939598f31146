"""Parts of a fused projection: q, k and v one below the other, each as high as the input is wide, each a matrix."""

from .entries import Shape
from .errors import FourierError

PARTS = ("q", "k", "v")


def split_target(target: str) -> tuple[str, tuple[str, ...]]:
    """("c_attn", ("q", "v")) of "c_attn:q,v". No parts of a plain name, nor of what is no selection of q, k, v."""
    name, _, listed = target.partition(":")
    parts = tuple(part for part in PARTS if part in listed.split(","))
    return name, parts if ",".join(parts) == listed else ()


def matches(name: str, path: str) -> bool:
    """PEFT's rule for module names: `name` is the whole path or its end after a dot."""
    return path == name or path.endswith("." + name)


def matrix_shape(shape: Shape, parts: tuple[str, ...]) -> Shape:
    """(out, in) of each adapted matrix of a layer of this (out, in) shape: of a part, or of the whole layer.

    Raises FourierError for parts of a layer that is no fused projection by its shape.
    """
    out, width = shape
    if parts and out != len(PARTS) * width:
        raise FourierError(
            f"{','.join(parts)} of a layer with {width} inputs and {out} outputs cannot be adapted: only a fused "
            f"projection with q, k and v of {width} outputs each can be cut"
        )
    return (width, width) if parts else shape


def part_rows(shape: Shape, parts: tuple[str, ...]) -> dict[str, slice]:
    """Which rows of an (out, in) weight each part is, or all of them, as "", where no parts are named.

    Raises FourierError for parts of a layer that is no fused projection by its shape.
    """
    height, _ = matrix_shape(shape, parts)
    starts = {part: i * height for i, part in enumerate(PARTS) if part in parts} or {"": 0}
    return {part: slice(start, start + height) for part, start in starts.items()}

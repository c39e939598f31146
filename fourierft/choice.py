"""Which of the exact algorithms a layer runs: a small rule by shape, tokens and device, and any of them by force.

All compute the same numbers to rounding. They differ in what they have to go through for T tokens:

    forward     "fft", "kernel"    d1 d2 numbers, to form W + delta_W (by FFT, or on a GPU by a Triton kernel)
                "branch"           T (d1 + d2 + n) numbers, to add x delta_W^T to x W^T
                "grid"             T (d1 + d2) numbers a row of the grid, where the positions are one (`grid.py`)
    gradient    "product"          T d1 d2 multiply-adds for G = g^T x, then d1 d2 numbers
                "parity"           half the multiply-adds, and a pass over x and g to split them
                "tokens"           T (d1 + d2 + n) numbers; no d1 x d2 matrix is formed

The rule takes what has the least to go through. A transform costs about the same for each of its numbers in all of
these (2.3 ns on one CPU core), a multiply-add of a matrix product a MULTIPLY_ADDS-th of that, and a number of a matrix
that no cache holds BEYOND_CACHE times that. Measured on a CPU; the figure for a GPU is an estimate from its bandwidth.
"parity" was nowhere the fastest there, so that the rule never takes it.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

import torch

from .entries import Shape
from .errors import FourierError

MULTIPLY_ADDS = {"cpu": 100, "cuda": 4000}
CACHE, BEYOND_CACHE = 2**21, 3  # in numbers of 4 bytes; and as above
FORWARD = ("fft", "kernel", "branch", "grid")
GRADIENT = ("product", "parity", "tokens", "grid")
MEMORY = ("recompute", "keep")


@dataclass(frozen=True)
class Algorithm:
    """How a layer computes. Raises FourierError, naming the field, for a value that is not one of those listed.

    forward, gradient: one of the algorithms above, or None for the rule's choice. The backward pass of the forward
    product is of the form of `forward`.
    memory: "recompute" saves the input alone and forms delta_W again for the backward pass; "keep" saves what the
    forward pass formed (out x in numbers a layer; nothing with "branch").
    saved_dtype: None, or torch.bfloat16 or float16 to round the saved input to: half the memory of a float32 one, and
    an error of that rounding (2e-3) in the gradient of the coefficients, nowhere else.
    """

    forward: str | None = None
    gradient: str | None = None
    memory: str = "recompute"
    saved_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        allowed = {
            "forward": (None, *FORWARD),
            "gradient": (None, *GRADIENT),
            "memory": MEMORY,
            "saved_dtype": (None, torch.bfloat16, torch.float16),
        }
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                listed = ", ".join(map(repr, values))
                raise FourierError(f"{field}={getattr(self, field)!r} is not an algorithm: choose one of {listed}")

    def of_basis(self, basis: str) -> "Algorithm":
        """The same with nothing left to choose, for another basis than Fourier's, which forms delta_W and G alone.

        Raises FourierError if another algorithm is forced.
        """
        if self.forward not in (None, "fft") or self.gradient not in (None, "product"):
            raise FourierError(
                f"forward={self.forward!r}, gradient={self.gradient!r}: with basis={basis!r} there is no choice of "
                "algorithms; leave both None"
            )
        return replace(self, forward="fft", gradient="product")

    def resolve(
        self, shape: Shape, n: int, tokens: int, dtype: torch.dtype, device: torch.device, grid: bool = False
    ) -> "Algorithm":
        """The same with no None in `forward` and `gradient`: what this many tokens are run by.

        shape: (out, in); dtype: of the coefficients, float32 or float64; grid: whether the positions are one. Raises
        FourierError if the Triton kernel, or the grid's form, is forced where it cannot run.
        """
        asked = {self.forward, self.gradient}
        if "grid" in asked or (grid and asked == {None}):
            if not grid or not asked <= {None, "grid"}:
                raise FourierError(
                    f"forward={self.forward!r}, gradient={self.gradient!r}: 'grid' is for both or for neither, and for "
                    "entries='grid'; choose other algorithms, or None"
                )
            return replace(self, forward="grid", gradient="grid")
        if self.forward == "kernel" and not kernel_runs(dtype, device):
            raise FourierError(
                f"forward='kernel' cannot run on {device.type} in {dtype}: it takes Triton, a GPU and float32 "
                "coefficients; choose 'fft', 'branch' or None"
            )
        elements, by_tokens = shape[0] * shape[1], tokens * (sum(shape) + n)
        forming = elements * (BEYOND_CACHE if elements > CACHE and device.type == "cpu" else 1)
        forward, gradient = self.forward, self.gradient
        if forward is None:
            merged = "kernel" if device.type == "cuda" and kernel_runs(dtype, device) else "fft"
            forward = "branch" if by_tokens < forming else merged
        if gradient is None:
            by_product = tokens * elements / MULTIPLY_ADDS.get(device.type, MULTIPLY_ADDS["cpu"]) + forming
            gradient = "tokens" if by_tokens < by_product else "product"
        return replace(self, forward=forward, gradient=gradient)


def kernel_runs(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the Triton kernel can form delta_W: on a CUDA device, or anywhere in Triton's interpreter."""
    return dtype == torch.float32 and _has_triton() and (device.type == "cuda" or _interprets())


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _interprets() -> bool:
    import triton

    return triton.knobs.runtime.interpret

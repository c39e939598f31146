"""Which of the exact algorithms a layer runs: a small rule by shape, tokens and device, and any of them by force.

All compute the same numbers to rounding. They differ in what they have to go through for T tokens:

    forward     "fft", "kernel"    d1 d2 numbers, to form W + delta_W (by FFT, or on a GPU by a Triton kernel)
                "branch"           T (d1 + d2 + n) numbers, to add x delta_W^T to x W^T
                "grid"             T (d1 + d2) numbers a row of the grid, where the positions are one (`grid.py`)
    gradient    "product"          T d1 d2 multiply-adds for G = g^T x, then d1 d2 numbers
                "tokens"           T (d1 + d2 + n) numbers; no d1 x d2 matrix is formed

The rule takes what has the least to go through. A transform of torch costs about the same for each of its numbers in
all of these (2.3 ns on one CPU core); the constants below are in units of that. For a CPU they are measured, once for
each set of instructions, so that a machine takes the same algorithms every day; for a GPU they are estimates from its
bandwidth. In C (`native.py`) a number costs so little that "branch" and "tokens" win nearly everywhere.
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

import torch

from . import native
from .errors import FourierError
from .plan import Plan

# Multiply-adds of a matrix product that take as long as one number; on a GPU outside of its tensor cores, and on them.
MULTIPLY_ADDS = 300 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 100
MULTIPLY_ADDS_CUDA, MULTIPLY_ADDS_TENSOR_CORES = 285, 4000
COMPILED = 0.3  # a number in C
CACHE, BEYOND_CACHE = 2**21, 3  # numbers of 4 bytes that a CPU's cache holds; what a number of a larger matrix costs
LAUNCHES = 2**20  # what the launches of "branch" and "tokens" cost a GPU more than those of a merged product
FORWARD = ("fft", "kernel", "branch", "grid")
GRADIENT = ("product", "tokens", "grid")
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
    compiled: whether "branch" and "tokens" may run in C on a CPU, and by Triton on a GPU, where these can be compiled.
    """

    forward: str | None = None
    gradient: str | None = None
    memory: str = "recompute"
    saved_dtype: torch.dtype | None = None
    compiled: bool = True

    def __post_init__(self) -> None:
        allowed = {
            "forward": (None, *FORWARD),
            "gradient": (None, *GRADIENT),
            "memory": MEMORY,
            "saved_dtype": (None, torch.bfloat16, torch.float16),
            "compiled": (True, False),
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

    def resolve(self, plan: Plan, tokens: int, dtype: torch.dtype, rows: torch.dtype) -> "Algorithm":
        """The same with no None in `forward` and `gradient`: what this many tokens are run by.

        dtype: of the coefficients, float32 or float64; rows: of the tokens. `compiled` then says whether C or
        Triton runs. Raises FourierError if the Triton kernel, or the grid's form, is forced where it cannot run.
        """
        device, asked = plan.u.device, {self.forward, self.gradient}
        if "grid" in asked or (plan.grid and asked == {None}):
            if not plan.grid or not asked <= {None, "grid"}:
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
        cuda = device.type == "cuda"
        kernels = cuda and kernel_runs(dtype, device)
        in_c = plan.native and dtype == torch.float32 and rows in native.DTYPES
        compiled = self.compiled and (kernels or in_c)
        elements, by_tokens = math.prod(plan.shape), tokens * (sum(plan.shape) + plan.n)
        by_tokens = by_tokens + LAUNCHES if cuda else by_tokens * COMPILED if compiled else by_tokens
        forming = elements * (BEYOND_CACHE if elements > CACHE and not cuda else 1)
        product = tokens * elements / _multiply_adds(cuda, rows)
        forward, gradient = self.forward, self.gradient
        if forward is None:
            merged = "kernel" if kernels and _kernel_pays(plan, rows) else "fft"
            # In C the branch is added to a narrow product; elsewhere both forms cost one more, of twice the length or
            # in float32.
            saved = product if compiled and in_c and rows == torch.bfloat16 else 0
            forward = "branch" if by_tokens < forming + saved else merged
        if gradient is None:
            gradient = "tokens" if by_tokens < product + forming else "product"
        return replace(self, forward=forward, gradient=gradient, compiled=compiled)


def _multiply_adds(cuda: bool, rows: torch.dtype) -> int:
    if not cuda:
        return MULTIPLY_ADDS
    tensor_cores = rows.itemsize == 2 or (rows == torch.float32 and torch.backends.cuda.matmul.allow_tf32)
    return MULTIPLY_ADDS_TENSOR_CORES if tensor_cores else MULTIPLY_ADDS_CUDA


def kernel_runs(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the Triton kernel can form delta_W: on a CUDA device, or anywhere in Triton's interpreter."""
    return dtype == torch.float32 and _has_triton() and (device.type == "cuda" or _interprets())


def _kernel_pays(plan: Plan, rows: torch.dtype) -> bool:
    from . import kernel  # needs Triton

    return kernel.pays(plan.shape, plan.n, rows)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _interprets() -> bool:
    import triton

    return triton.knobs.runtime.interpret

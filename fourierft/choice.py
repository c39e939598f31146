"""Which of the exact algorithms a layer runs: chosen by shape, number of tokens and device, unless it is forced.

All give the same result up to rounding. Their work for T tokens, forward and for the gradient of the coefficients:

    "fft"      forward: d1 d2 numbers are transformed to form W + delta_W; gradient: T d1 d2 multiply-adds for
               G = g^T x, then d1 d2 numbers
    "kernel"   forward only, on a GPU: as "fft", but a Triton kernel forms W + delta_W
    "tokens"   T (d1 + d2 + n) numbers; no d1 x d2 matrix is formed
    "grid"     T (d1 + d2) numbers per row of the grid, for positions on a grid (`grid.py`)

The algorithm with the least work is chosen. The unit of the constants below is the time that torch takes to transform
one number (2.3 ns on one CPU core). For CPUs they were measured once per instruction set, and not on each machine, so
that the choice is reproducible; for GPUs they are estimates from the bandwidth. In C (`native.py`) "tokens" is so
cheap that it wins almost always.
"""

import math
import os
import shutil
import sysconfig
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from . import native
from .errors import FourierError
from .plan import BasisPlan, Plan

# Multiply-adds of a matrix product in one unit of time; on a GPU without and with tensor cores.
MULTIPLY_ADDS = 300 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 100
MULTIPLY_ADDS_CUDA, MULTIPLY_ADDS_TENSOR_CORES = 285, 4000
COMPILED = 0.3  # cost of a number in C
CACHE, BEYOND_CACHE = 2**21, 3  # float32 numbers that fit a CPU's cache; cost of a number of a larger matrix
LAUNCHES = 2**20  # cost, on a GPU, of the additional kernel launches of "tokens"
TRITON = find_spec("triton") is not None
# Triton compiles what launches a kernel. Without a compiler, or Python's headers, every launch would raise.
LAUNCHES_KERNELS = bool(os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")) and (
    Path(sysconfig.get_path("include", "posix_prefix"), "Python.h").exists()
)
ALLOWED = {
    "forward": (None, "fft", "kernel", "tokens", "grid"),
    "gradient": (None, "fft", "tokens", "grid"),
    "memory": ("recompute", "keep"),
    "saved_dtype": (None, torch.bfloat16, torch.float16),
    "compiled": (True, False),
}


@dataclass(frozen=True)
class Algorithm:
    """How a layer computes. Raises FourierError, naming the field, for a value that is not in ALLOWED.

    forward, gradient: one of the algorithms above, or None to choose the cheapest. `forward` also decides how the
    gradient of the input is computed, `gradient` only that of the coefficients.
    memory: "recompute" saves the input only, and forms delta_W again in the backward pass; "keep" also saves what the
    forward pass formed (out x in numbers per layer; nothing with "tokens").
    saved_dtype: None, or torch.bfloat16 or float16, to round the saved input to: half the memory of float32, for an
    error of about 2e-3 in the gradient of the coefficients, and nowhere else.
    compiled: whether "tokens" may use C on a CPU and Triton on a GPU, where available.
    """

    forward: str | None = None
    gradient: str | None = None
    memory: str = "recompute"
    saved_dtype: torch.dtype | None = None
    compiled: bool = True

    def __post_init__(self) -> None:
        for field, values in ALLOWED.items():
            value = getattr(self, field)
            if value not in values:
                listed = ", ".join(map(repr, values))
                raise FourierError(f"{field}={value!r} is not an algorithm: choose one of {listed}")

    def resolve(self, plan: Plan | BasisPlan, tokens: int, dtype: torch.dtype, rows: torch.dtype) -> "Algorithm":
        """The algorithm for this many tokens: without None, and with `compiled` only if C or Triton will be used.

        dtype: of the coefficients, float32 or float64; rows: dtype of the tokens. Raises FourierError if an algorithm
        is forced that cannot run: "kernel" without Triton, a GPU or float32 coefficients; "grid" without a grid, or in
        one direction only; in another basis than Fourier's anything but "fft".
        """
        forced, stated = {self.forward, self.gradient}, f"forward={self.forward!r}, gradient={self.gradient!r}"
        if isinstance(plan, BasisPlan):
            if not forced <= {None, "fft"}:
                raise FourierError(
                    f"{stated}: with basis={plan.entries[0].basis!r} there is no choice of algorithms; leave both None"
                )
            return replace(self, forward="fft", gradient="fft")
        if "grid" in forced or (plan.grid and forced == {None}):
            if not plan.grid or not forced <= {None, "grid"}:
                raise FourierError(
                    f"{stated}: 'grid' is for both or for neither, and for entries='grid'; choose other algorithms, or "
                    "None"
                )
            return replace(self, forward="grid", gradient="grid")
        device = plan.u.device
        cuda = device.type == "cuda"
        kernels = (cuda or self.forward == "kernel") and kernel_runs(dtype, device)
        if self.forward == "kernel" and not kernels:
            raise FourierError(
                f"forward='kernel' cannot run on {device.type} in {dtype}: it takes Triton, a C compiler and "
                "Python.h (gcc, python3-dev), a GPU and float32 coefficients; choose 'fft', 'tokens' or None"
            )
        in_c = plan.native and dtype == torch.float32 and rows in native.DTYPES
        compiled = self.compiled and (in_c or (cuda and kernels))
        elements, numbers = math.prod(plan.shape), tokens * (sum(plan.shape) + plan.n)
        by_tokens = numbers + LAUNCHES if cuda else numbers * COMPILED if compiled else numbers
        forming = elements * (BEYOND_CACHE if elements > CACHE and not cuda else 1)
        product = tokens * elements / _multiply_adds(cuda, rows)
        forward, gradient = self.forward, self.gradient
        if forward is None:
            merged = "kernel" if cuda and kernels and _kernel_pays(plan, rows) else "fft"
            # In C the change is added to a bfloat16 product; otherwise low precision costs another product either way.
            saved = product if compiled and in_c and rows == torch.bfloat16 else 0
            forward = "tokens" if by_tokens < forming + saved else merged
        if gradient is None:
            gradient = "tokens" if by_tokens < product + forming else "fft"
        return replace(self, forward=forward, gradient=gradient, compiled=compiled)


def _multiply_adds(cuda: bool, rows: torch.dtype) -> int:
    if not cuda:
        return MULTIPLY_ADDS
    tensor_cores = rows.itemsize == 2 or (rows == torch.float32 and _tf32())
    return MULTIPLY_ADDS_TENSOR_CORES if tensor_cores else MULTIPLY_ADDS_CUDA


def _tf32() -> bool:
    # By the newer of torch's two settings: the older one, once the newer was used, raises. torch.compile cannot ask.
    return not torch.compiler.is_compiling() and torch.backends.cuda.matmul.fp32_precision == "tf32"


def kernel_runs(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the Triton kernel can form delta_W: on a CUDA device, or anywhere in Triton's interpreter."""
    return dtype == torch.float32 and TRITON and ((device.type == "cuda" and LAUNCHES_KERNELS) or _interprets())


def _kernel_pays(plan: Plan, rows: torch.dtype) -> bool:
    from . import kernel  # needs Triton

    return kernel.pays(plan.shape, plan.n, rows)


def _interprets() -> bool:
    import triton

    return triton.knobs.runtime.interpret

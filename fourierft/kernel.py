"""W + delta_W in one pass on a GPU: a Triton kernel that forms a quarter of delta_W and writes it four times.

With C1 = cos(2 pi p u_k / d1), C2 = cos(2 pi v_k q / d2) and the sines S1, S2 (s, u, v, sign as in `plan.py`),

    delta_W = E - O,   E = C1 diag(s c) C2,   O = S1 diag(s sign c) S2

are two products of inner length n, for tensor cores. E is even and O odd in p and in q, so the quarter p <= d1/2,
q <= d2/2 of both gives the four values E - O at (p, q) and (-p, -q), E + O at (-p, q) and (p, -q).
"""

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from .plan import Plan

TILE, DEPTH = 64, 32


def delta_weight(c: Tensor, plan: Plan, scale: float, base: Tensor | None, dtype: torch.dtype) -> Tensor:
    """delta_W, or base + delta_W, (out, in) contiguous in `dtype`. c: (n,) float32; base: (out, in), of any strides.

    Products are in TF32 for a result of low precision (relative error 3e-4), in three TF32 terms for float32 (1e-6).
    """
    d1, d2 = plan.shape
    h1, h2 = d1 // 2 + 1, d2 // 2 + 1
    result = torch.empty(d1, d2, dtype=dtype, device=c.device)
    even = c * (scale / (d1 * d2))
    read = result if base is None else base
    grid = triton.cdiv(h1, TILE), triton.cdiv(h2, TILE)
    # Triton launches on the current device, which need not be that of a layer in a model spread over several.
    with torch.cuda.device(c.device) if c.is_cuda else nullcontext():
        _delta_weight[grid](
            result,
            read,
            *read.stride(),
            *_tables(plan),
            even,
            even * plan.sign,
            d1,
            d2,
            h1,
            h2,
            plan.n,
            HAS_BASE=base is not None,
            PRECISION="tf32x3" if dtype == torch.float32 else "tf32",
            TILE=TILE,
            DEPTH=DEPTH,
        )
    return result


def _tables(plan: Plan) -> list[Tensor]:
    """C1 and S1, (n, h1), and C2 and S2, (n, h2): 4 n (d1 + d2) bytes, made once for all layers of the plan."""
    # Kept on the plan, not in a cached function, which torch.compile would look through and trace.
    if not plan.tables:
        tables = []
        for frequency, length in zip((plan.u, plan.v), plan.shape, strict=True):
            place = torch.arange(length // 2 + 1, device=frequency.device)
            angle = (frequency[:, None] * place % length).double() * (2 * torch.pi / length)
            tables.extend([angle.cos().float(), angle.sin().float()])
        plan.tables[:] = tables  # at once: another thread may be asking too
    return plan.tables


@triton.jit
def _delta_weight(
    result,
    base,
    base_stride_p,
    base_stride_q,
    cos_u,
    sin_u,
    cos_v,
    sin_v,
    c_even,
    c_odd,
    d1,
    d2,
    h1,
    h2,
    n,
    HAS_BASE: tl.constexpr,
    PRECISION: tl.constexpr,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    p = tl.program_id(0) * TILE + tl.arange(0, TILE)
    q = tl.program_id(1) * TILE + tl.arange(0, TILE)
    even = tl.zeros((TILE, TILE), tl.float32)
    odd = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, n, DEPTH):
        k = start + tl.arange(0, DEPTH)
        at_u, in_u = k[:, None] * h1 + p[None, :], (k < n)[:, None] & (p < h1)[None, :]
        at_v, in_v = k[:, None] * h2 + q[None, :], (k < n)[:, None] & (q < h2)[None, :]
        ce = tl.load(c_even + k, mask=k < n, other=0.0)[:, None]
        co = tl.load(c_odd + k, mask=k < n, other=0.0)[:, None]
        cosines = tl.trans(tl.load(cos_u + at_u, mask=in_u, other=0.0) * ce)
        sines = tl.trans(tl.load(sin_u + at_u, mask=in_u, other=0.0) * co)
        even = tl.dot(cosines, tl.load(cos_v + at_v, mask=in_v, other=0.0), even, input_precision=PRECISION)
        odd = tl.dot(sines, tl.load(sin_v + at_v, mask=in_v, other=0.0), odd, input_precision=PRECISION)
    # A place that is its own mirror (p = 0, or d1 / 2) is written twice, with the same value: its sine is zero.
    inside = (p < h1)[:, None] & (q < h2)[None, :]
    for corner in tl.static_range(4):
        rows = (p if corner % 2 == 0 else (d1 - p) % d1)[:, None].to(tl.int64)
        columns = (q if corner // 2 == 0 else (d2 - q) % d2)[None, :].to(tl.int64)
        value = even - odd if corner == 0 or corner == 3 else even + odd
        if HAS_BASE:
            weight = tl.load(base + rows * base_stride_p + columns * base_stride_q, mask=inside, other=0.0)
            value += weight.to(tl.float32)
        tl.store(result + rows * d2 + columns, value.to(result.dtype.element_ty), mask=inside)

"""W + delta_W in one pass on a GPU: a Triton kernel that forms a quarter of delta_W and writes it four times.

With C1 = cos(2 pi p u_k / d1), C2 = cos(2 pi v_k q / d2), S1 = sin(2 pi p sign_k u_k / d1) and S2 the sine of v (s, u,
v, sign as in `plan.py`),

    delta_W = E - O,   E = C1 diag(s c) C2,   O = S1 diag(s c) S2

are two products of inner length n, for tensor cores. E is even and O odd in p and in q, so the quarter p <= d1/2,
q <= d2/2 of both gives the four values E - O at (p, q) and (-p, -q), E + O at (-p, q) and (p, -q).

The tables are in float16, which has TF32's 10 bits at half its bytes and twice the peak rate of tensor cores; of c the
ratio to the largest |c| is taken, so that no magnitude of c leaves float16's range. That gives delta_W to 3e-4, enough
for a result of low precision. For float32 each factor is the sum of two float16 numbers, a = a' + a'', and
a b = a' b' + a'' b' + a' b'' gives it to 4e-7 (in Triton's interpreter; tensor cores may truncate where they add up).
"""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from .entries import Shape
from .plan import Plan, waves

DEPTH = 32  # entries at a time: three stages of them fit the 99 KB of shared memory that a block has on most GPUs
# What the kernel and the FFT move for each number of delta_W; counts, to be measured on a GPU. The FFT of 4096 x 4096
# passes six times over 4 bytes, which is log2(d1 d2); its 15 launches take the time in which 128 MiB are moved.
TABLE_BYTES, FFT_BYTES, FFT_LAUNCHES = 2, 1, 2**27


def pays(shape: Shape, n: int, dtype: torch.dtype) -> bool:
    """Whether the kernel should take less time than the FFT for a result of this (out, in) shape and dtype.

    By count of the bytes that either moves: n d1 d2 / tile of the tables, against d1 d2 log2(d1 d2) and its launches.
    """
    numbers = shape[0] * shape[1]
    tables = n * TABLE_BYTES * _terms(dtype) / _tile(shape, dtype)
    return numbers * tables < numbers * FFT_BYTES * math.log2(numbers) + FFT_LAUNCHES


def delta_weight(c: Tensor, plan: Plan, scale: float, base: Tensor | None, dtype: torch.dtype) -> Tensor:
    """delta_W, or base + delta_W, (out, in) contiguous in `dtype`. c: (n,) float32; base: (out, in), of any strides.

    Of c a magnitude from 1e-37 to 1e37 is kept. The relative error of delta_W is 3e-4 if `dtype` is of low precision,
    before it is rounded to that, and below 1e-6 if it is float32.
    """
    d1, d2 = plan.shape
    tile = _tile(plan.shape, dtype)
    table_u, table_v = _tables(plan, dtype)
    result = torch.empty(d1, d2, dtype=dtype, device=c.device)
    read = result if base is None else base
    with launching_on(c):
        _delta_weight[table_u.shape[2] // tile, table_v.shape[2] // tile](
            result,
            read,
            *read.stride(),
            table_u,
            table_v,
            table_u.shape[2],
            table_v.shape[2],
            c.contiguous(),
            torch.linalg.vector_norm(c, torch.inf),
            plan.unit(scale),
            d1,
            d2,
            plan.n,
            HAS_BASE=base is not None,
            TERMS=_terms(dtype),
            TILE=tile,
            DEPTH=DEPTH,
            num_warps=tile // 16,
        )
    return result


def launching_on(x: Tensor) -> AbstractContextManager:
    """Triton launches on the current device, which need not be that of a layer in a model spread over several."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _terms(dtype: torch.dtype) -> int:
    """How many float16 numbers stand for one."""
    return 2 if dtype == torch.float32 else 1


def _tile(shape: Shape, dtype: torch.dtype) -> int:
    """Rows and columns of a block: in 128 the tables are read half as often as in 64, but these are four times as many.

    The products of float32 have no room for it in the registers.
    """
    return 128 if shape[0] * shape[1] >= 2048**2 and _terms(dtype) == 1 else 64


def _tables(plan: Plan, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The rows C1_k, S1_k, and, of two terms, what float16 leaves of them, (n, 2 or 4, d1 / 2) float16; and of v, d2.

    2 n (d1 + d2) bytes, or 4 n (d1 + d2) for results in float32, and what rounds n up to DEPTH, d1 / 2 + 1 and
    d2 / 2 + 1 to the tile; made once for all layers of the plan.
    """
    # Kept on the plan, not in a cached function, which torch.compile would look through and trace.
    terms, tile = _terms(dtype), _tile(plan.shape, dtype)
    key = "kernel", terms
    if key not in plan.tables:
        tables = (_table(*side, terms, tile) for side in zip(plan.frequencies, plan.shape, strict=True))
        plan.tables[key] = tuple(tables)  # at once: another thread may be asking too
    return plan.tables[key]


def _table(frequencies: Tensor, length: int, terms: int, tile: int) -> Tensor:
    frequencies = torch.nn.functional.pad(frequencies, (0, -len(frequencies) % DEPTH))
    exact = waves(frequencies, triton.cdiv(length // 2 + 1, tile) * tile, length)
    high = exact.half()
    return high if terms == 1 else torch.cat([high, (exact - high).half()], dim=1)


@triton.jit
def _delta_weight(
    result,
    base,
    base_stride_p,
    base_stride_q,
    table_u,
    table_v,
    width_u,
    width_v,
    c,
    largest,
    s,
    d1,
    d2,
    n,
    HAS_BASE: tl.constexpr,
    TERMS: tl.constexpr,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    first_p, first_q = tl.program_id(0) * TILE, tl.program_id(1) * TILE
    i, k = tl.arange(0, TILE), tl.arange(0, DEPTH)
    row_u, row_v = 2 * TERMS * width_u, 2 * TERMS * width_v
    at_u = table_u + k[None, :] * row_u + (first_p + i)[:, None]
    at_v = table_v + k[:, None] * row_v + (first_q + i)[None, :]
    largest = tl.maximum(tl.load(largest), 1e-37)
    even = tl.zeros((TILE, TILE), tl.float32)
    odd = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, n, DEPTH):
        weight = tl.load(c + start + k, mask=start + k < n, other=0.0)[None, :] / largest
        even = _add_product(even, weight, at_u, at_v, 2 * width_u, 2 * width_v, TERMS)
        odd = _add_product(odd, weight, at_u + width_u, at_v + width_v, 2 * width_u, 2 * width_v, TERMS)
        at_u += DEPTH * row_u
        at_v += DEPTH * row_v
    even *= largest * s
    odd *= largest * s
    # The tile as one row of numbers: of two dimensions Triton might lay the wrong one along a warp, where the columns
    # of a mirror descend. Within a tile 32 bits are enough for a place, and half the registers.
    place = tl.arange(0, TILE * TILE)
    i, j = place // TILE, place % TILE
    p, q = first_p + i, first_q + j
    # The tables, and so the tiles, may go past the middle; what they hold there is written once, by no mirror.
    for mirror_p in tl.static_range(2):
        row, down = (d1 - first_p.to(tl.int64), -1) if mirror_p else (first_p.to(tl.int64), 1)
        in_p = (p > 0) & (p <= d1 - width_u) if mirror_p else p < d1
        for mirror_q in tl.static_range(2):
            column, along = (d2 - first_q.to(tl.int64), -1) if mirror_q else (first_q.to(tl.int64), 1)
            inside = in_p & ((q > 0) & (q <= d2 - width_v) if mirror_q else q < d2)
            value = tl.reshape(even - odd if mirror_p == mirror_q else even + odd, (TILE * TILE,))
            if HAS_BASE:
                at = base + row * base_stride_p + column * base_stride_q
                at += i * (down * base_stride_p) + j * (along * base_stride_q)
                value += tl.load(at, mask=inside, other=0.0).to(tl.float32)
            at = result + row * d2 + column + (i * (down * d2) + j * along)
            tl.store(at, value.to(result.dtype.element_ty), mask=inside)


@triton.jit
def _add_product(total, weight, at_u, at_v, low_u, low_v, TERMS: tl.constexpr):
    """total + (weight u) v, of u (TILE, DEPTH) and v (DEPTH, TILE), whose second terms are low_u and low_v further."""
    u = tl.load(at_u).to(tl.float32)
    if TERMS == 2:
        u += tl.load(at_u + low_u).to(tl.float32)
    u *= weight
    high, v = u.to(tl.float16), tl.load(at_v)
    total = tl.dot(high, v, total)
    if TERMS == 2:
        total = tl.dot((u - high.to(tl.float32)).to(tl.float16), v, total)
        total = tl.dot(high, tl.load(at_v + low_v), total)
    return total

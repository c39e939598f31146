"""W + delta_W in one pass on a GPU: a Triton kernel that computes a quarter of delta_W and mirrors it to the rest.

With C1 = cos(2 pi p u_k / d1), C2 = cos(2 pi v_k q / d2), S1 = sin(2 pi p sign_k u_k / d1) and S2 the sine of v (a, u,
v, sign as in `plan.py`),

    delta_W = E - O,   E = C1 diag(a) C2,   O = S1 diag(a) S2

are two products of inner length n, for tensor cores. E is even and O odd in p and in q, so the quarter p <= d1/2,
q <= d2/2 of both gives all values: E - O at (p, q) and (-p, -q), E + O at (-p, q) and (p, -q).

The tables are in float16: as many bits as TF32 in half the bytes, at twice the rate. a is divided by its largest
magnitude, to stay within the range of float16. The relative error of delta_W is 3e-4, enough for results in low
precision. For float32 each factor is the sum of two float16 numbers, a = a' + a'', and
a b = a' b' + a'' b' + a' b'' has an error of 4e-7 (in Triton's interpreter; tensor cores may truncate their sums).
"""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from .entries import Shape
from .plan import Plan, waves

DEPTH = 32  # coefficients at a time: three stages fit the 99 KB of shared memory per block of most GPUs
# Bytes moved per number of delta_W: estimates, not yet measured on a GPU. The FFT of 4096 x 4096 passes six times over
# 4 bytes, which is log2(d1 d2); its 15 launches take as long as moving 128 MiB.
TABLE_BYTES, FFT_BYTES, FFT_LAUNCHES = 2, 1, 2**27


def pays(shape: Shape, n: int, dtype: torch.dtype) -> bool:
    """Whether the kernel should be faster than the FFT for a result of this (out, in) shape and dtype.

    Compares the bytes that they move: n d1 d2 / tile of the tables, against d1 d2 log2(d1 d2) and the launches.
    """
    numbers = shape[0] * shape[1]
    tables = n * TABLE_BYTES * _terms(dtype) / _tile(shape, dtype)
    return numbers * tables < numbers * FFT_BYTES * math.log2(numbers) + FFT_LAUNCHES


def delta_weight(a: Tensor, plan: Plan, base: Tensor | None, dtype: torch.dtype) -> Tensor:
    """delta_W, or base + delta_W, (out, in) contiguous in `dtype`. a: (n,) float32; base: (out, in), of any strides.

    max |a| may be 1e-37 to 1e37. The relative error of delta_W is below 1e-6 for float32, and 3e-4, before rounding,
    for a `dtype` of low precision.
    """
    d1, d2 = plan.shape
    tile = _tile(plan.shape, dtype)
    table_u, table_v = _tables(plan, dtype)
    result = torch.empty(d1, d2, dtype=dtype, device=a.device)
    read = result if base is None else base
    with launching_on(a):
        _delta_weight[table_u.shape[2] // tile, table_v.shape[2] // tile](
            result,
            read,
            *read.stride(),
            table_u,
            table_v,
            table_u.shape[2],
            table_v.shape[2],
            a.contiguous(),
            torch.linalg.vector_norm(a, torch.inf),
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
    """Makes the device of x the current one, on which Triton launches: a model may be spread over several."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _terms(dtype: torch.dtype) -> int:
    """How many float16 numbers represent one number."""
    return 2 if dtype == torch.float32 else 1


def _tile(shape: Shape, dtype: torch.dtype) -> int:
    """Rows, and columns, of a block. With 128 instead of 64 the tables are read half as often, but there are a quarter
    as many blocks, and the products for float32 would not fit the registers.
    """
    return 128 if shape[0] * shape[1] >= 2048**2 and _terms(dtype) == 1 else 64


def _tables(plan: Plan, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The rows C1_k, S1_k, and for float32 their second terms, (n, 2 or 4, d1 / 2) float16; the same for v and d2.

    n is padded to a multiple of DEPTH, d1 / 2 + 1 and d2 / 2 + 1 to multiples of the tile. About 2 n (d1 + d2) bytes,
    or 4 n (d1 + d2) for float32, shared by all layers of the plan.
    """
    terms, tile = _terms(dtype), _tile(plan.shape, dtype)

    def make() -> tuple[Tensor, ...]:
        return tuple(_table(*side, terms, tile) for side in zip(plan.frequencies, plan.shape, strict=True))

    return plan.table(("kernel", terms), make)


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
    a,
    largest,
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
        weight = tl.load(a + start + k, mask=start + k < n, other=0.0)[None, :] / largest
        even = _add_product(even, weight, at_u, at_v, 2 * width_u, 2 * width_v, TERMS)
        odd = _add_product(odd, weight, at_u + width_u, at_v + width_v, 2 * width_u, 2 * width_v, TERMS)
        at_u += DEPTH * row_u
        at_v += DEPTH * row_v
    even *= largest
    odd *= largest
    # The tile is flattened: of two dimensions Triton might lay the wrong one along a warp, since mirrored columns
    # descend. 32 bits are enough for an index within a tile, and take half the registers.
    place = tl.arange(0, TILE * TILE)
    i, j = place // TILE, place % TILE
    p, q = first_p + i, first_q + j
    # The tables, and so the tiles, may extend past the middle; those values are written directly, not mirrored.
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
    """total + (weight u) v; u: (TILE, DEPTH), v: (DEPTH, TILE), with their second terms at offsets low_u and low_v."""
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

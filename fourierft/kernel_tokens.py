"""The products of spectra of `tokens.py` as Triton kernels for a GPU, on rows as torch's FFT reads and writes them.

A program of the first kernel sums over a block of tokens, and the blocks are summed afterwards; a program of the second
owns its bins, whose coefficients are sorted to be adjacent. There are no atomic additions: results are reproducible.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .kernel import launching_on
from .plan import Plan

TOKENS, ENTRIES = 16, 1024  # per program of the first kernel, so that the next one finds the tokens' rows in a cache
SOME_TOKENS, BINS = 8, 64  # per program of the second


def sampled_product(x: Tensor, g: Tensor, plan: Plan) -> Tensor:
    """dL/da, (n,) float32, from x: (T, in // 2 + 1) and g: (T, out // 2 + 1), complex64 with contiguous rows."""
    entries = min(ENTRIES, triton.next_power_of_2(plan.n))
    blocks = triton.cdiv(len(x), TOKENS)
    partial = torch.empty(blocks, plan.n, 2, dtype=torch.float32, device=x.device)
    if blocks:
        with launching_on(x):
            _sampled_product[(blocks * triton.cdiv(plan.n, entries),)](
                partial,
                torch.view_as_real(x),
                torch.view_as_real(g),
                plan.v,
                plan.u,
                x.stride(0),
                g.stride(0),
                len(x),
                plan.n,
                TOKENS=TOKENS,
                ENTRIES=entries,
                num_warps=8,
            )
    total = partial.sum(0)
    return total[:, 0] - plan.sign * total[:, 1]


def change(x: Tensor, f: Tensor, plan: Plan, adjoint: bool = False) -> Tensor:
    """Y, (T, out // 2 + 1) complex64, such that irfft(Y, out, norm="forward") is x delta_W^T, or, adjoint, x delta_W.

    x: its spectrum, (T, in // 2 + 1), or adjoint (T, out // 2 + 1), complex64 with contiguous rows; f: (n,) float32,
    from `tokens.factor`.
    """
    starts, order = _sorted(plan, adjoint)
    source, share = (plan.u, plan.v_share) if adjoint else (plan.v, plan.u_share)
    # irfft needs real values at the frequencies that are their own mirrors.
    factors = torch.stack([f, -f * plan.sign * (share < 1)], dim=1)
    y = torch.empty(len(x), len(starts) - 1, dtype=x.dtype, device=x.device)
    if len(x):
        with launching_on(x):
            _change[(triton.cdiv(len(x), SOME_TOKENS) * triton.cdiv(y.shape[1], BINS),)](
                torch.view_as_real(y),
                torch.view_as_real(x),
                factors[order],
                source[order],
                starts,
                x.stride(0),
                len(x),
                y.shape[1],
                TOKENS=SOME_TOKENS,
                BINS=BINS,
            )
    return y


def _sorted(plan: Plan, adjoint: bool) -> tuple[Tensor, ...]:
    """Coefficients by target frequency: where those of each start, and the end, (d // 2 + 2,); their order, (n,)."""

    def make() -> tuple[Tensor, ...]:
        target, length = (plan.v, plan.shape[1]) if adjoint else (plan.u, plan.shape[0])
        order = target.argsort(stable=True)
        bins = torch.arange(length // 2 + 2, device=target.device)
        return torch.searchsorted(target[order], bins), order

    return plan.table(("by target", adjoint), make)


@triton.jit
def _sampled_product(partial, x, g, v, u, row_x, row_g, tokens, n, TOKENS: tl.constexpr, ENTRIES: tl.constexpr):
    blocks = tl.cdiv(n, ENTRIES)
    block, k = tl.program_id(0) // blocks, (tl.program_id(0) % blocks) * ENTRIES + tl.arange(0, ENTRIES)
    inside, part = (k < n)[:, None], tl.arange(0, 2)[None, :]
    first = block * TOKENS
    at_x = x + first.to(tl.int64) * (2 * row_x) + 2 * tl.load(v + k, mask=k < n, other=0)[:, None] + part
    at_g = g + first.to(tl.int64) * (2 * row_g) + 2 * tl.load(u + k, mask=k < n, other=0)[:, None] + part
    total = tl.zeros((ENTRIES, 2), tl.float32)
    for _ in range(first, tl.minimum(first + TOKENS, tokens)):
        total += tl.load(at_x, mask=inside, other=0.0) * tl.load(at_g, mask=inside, other=0.0)
        at_x += 2 * row_x
        at_g += 2 * row_g
    tl.store(partial + block.to(tl.int64) * (2 * n) + 2 * k[:, None] + part, total, mask=inside)


@triton.jit
def _change(y, x, factors, source, starts, row_x, tokens, bins, TOKENS: tl.constexpr, BINS: tl.constexpr):
    blocks = tl.cdiv(bins, BINS)
    token = (tl.program_id(0) // blocks * TOKENS + tl.arange(0, TOKENS))[:, None, None]
    bin = (tl.program_id(0) % blocks) * BINS + tl.arange(0, BINS)
    part = tl.arange(0, 2)[None, None, :]
    start = tl.load(starts + bin, mask=bin < bins, other=0)
    count = tl.load(starts + bin + 1, mask=bin < bins, other=0) - start
    rows = x + token.to(tl.int64) * (2 * row_x) + part
    total = tl.zeros((TOKENS, BINS, 2), tl.float32)
    for j in range(0, tl.max(count, 0)):
        k, inside = (start + j)[None, :, None], (j < count)[None, :, None]
        column = 2 * tl.load(source + k, mask=inside, other=0)
        factor = tl.load(factors + 2 * k + part, mask=inside, other=0.0)
        total += factor * tl.load(rows + column, mask=inside & (token < tokens), other=0.0)
    # The real and imaginary parts of a token as one row, so that Triton lays it along a warp.
    number = (tl.program_id(0) % blocks) * (2 * BINS) + tl.arange(0, 2 * BINS)[None, :]
    token = tl.reshape(token, (TOKENS, 1))
    at = y + token.to(tl.int64) * (2 * bins) + number
    tl.store(at, tl.reshape(total, (TOKENS, 2 * BINS)), mask=(token < tokens) & (number < 2 * bins))

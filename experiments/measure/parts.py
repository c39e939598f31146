"""The operations of a layer's step, as the layer carries them out, and their timing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from experiments.measure.micro import LAUNCHES, Row
from fourierft import Algorithm, Entries, grid, products, spectral, tokens
from fourierft.plan import Plan, make_plan
from fourierft.wide import wide_product

# d and n of operations without rows; d, n and rows of the others. There is a grid of 1000 entries too.
FORMED = {"small": [(64, 100)], "full": [(1024, 1000), (4096, 1000), (768, 1000), (768, 3000), (768, 10000)]}
ROWS = {"small": [(64, 100, 32)], "full": [(1024, 1000, 16384), (4096, 1000, 8192), (768, 1000, 2048)]}
SEED, R, REPEATS = 2024, 8, 20
Measured = tuple[dict[str, Any], Callable[[], object]]  # the operation and its shape, and the function to time


def launches(device: str) -> Iterator[Measured]:
    """Operations without work."""
    x = torch.zeros(1, device=device)

    def step() -> None:
        for _ in range(LAUNCHES):
            x.add_(1.0)

    yield {"operation": "launches", "d": 1, "n": 1, "tokens": 0, "dtype": "float32"}, step


def formed(d: int, n: int, dtype: torch.dtype, device: str) -> Iterator[Measured]:
    """W + delta_W (only delta_W in low precision) as the layer forms it, and the gradient from G."""
    shape = {"d": d, "n": n, "tokens": 0, "dtype": _name(dtype)}
    plan, c = _plan(d, n, device), torch.randn(n, device=device)
    weight = torch.randn(d, d, device=device)
    base = weight if dtype == torch.float32 else None
    yield shape | {"operation": "form by fft"}, lambda: spectral.delta_weight(c, plan, base).to(dtype)

    def by_kernel() -> Tensor:
        from fourierft import kernel  # here, so that without Triton only this operation fails

        return kernel.delta_weight(c, plan, base, dtype)

    if device == "cuda":
        yield shape | {"operation": "form by kernel"}, by_kernel
    if dtype == torch.float32:
        yield shape | {"operation": "dc of G"}, lambda: spectral.amplitude_grad(weight, plan)


def of_rows(d: int, n: int, count: int, dtype: torch.dtype, device: str) -> Iterator[Measured]:
    """The operations on `count` rows of x and of g = dL/dy."""
    like = {"device": device, "dtype": dtype}
    x, g = torch.randn(count, d, **like), torch.randn(count, d, **like)
    weight, delta = torch.randn(d, d, **like), torch.randn(d, d, **like)
    plan, c = _plan(d, n, device), torch.randn(n, device=device)
    compiled = device == "cuda" or plan.native
    wide, bins = x.float(), torch.randn(d // 2 + 1, 2, count, device=device)

    def shape(operation: str) -> dict[str, Any]:
        return {"operation": operation, "d": d, "n": n, "tokens": count, "dtype": _name(dtype)}

    yield shape("x W^T"), lambda: x @ weight.t()
    yield shape("G = g^T x"), lambda: wide_product(g.t(), x)
    yield shape("gradient by product"), lambda: products.amplitude_grad(x, g, plan)
    yield shape("gradient by tokens"), lambda: tokens.backward_(x, g, plan, torch.float32, compiled=compiled)
    if dtype == torch.float32:  # transforms take no narrower numbers: these are the same for every dtype
        yield shape("rows there and back"), lambda: torch.fft.irfft(torch.fft.rfft(wide, dim=1), n=d, dim=1)
        yield shape("gather of entries"), lambda: bins.index_select(0, plan.v)
        with _tf32():
            yield shape("x W^T") | {"dtype": "tf32"}, lambda: x @ weight.t()
            yield shape("G = g^T x") | {"dtype": "tf32"}, lambda: wide_product(g.t(), x)
    else:
        yield shape("sum of doubled length"), lambda: products.times(x, weight, delta, plan, c.dtype, Algorithm("fft"))
        yield shape("sum in place"), lambda: (x @ weight.t()).addmm_(x, delta.t())
    y = torch.zeros(count, d, device=device)
    yield shape("branch"), lambda: tokens.add_change_(y, x, c, plan, compiled=compiled)
    on_grid = _plan(d, n, device, on_grid=True)
    a, b = torch.randn(R, d, device=device), torch.randn(d, R, device=device)
    yield shape("grid: projection"), lambda: grid.project(x, on_grid, torch.float32)
    yield (
        shape("grid: branch"),
        lambda: grid.add_change_(y, grid.project(x, on_grid, c.dtype), c, on_grid, rows=dtype),
    )
    yield shape("LoRA: branch"), lambda: y.add_(x.float() @ a.t() @ b.t(), alpha=2.0)


def everything(chosen: str, device: str) -> Iterator[Measured]:
    """All operations of the set; tensors exist for one shape at a time."""
    dtypes = (torch.bfloat16, torch.float32)
    yield from launches(device)
    for d, n in FORMED[chosen]:
        for dtype in dtypes:
            yield from formed(d, n, dtype, device)
    for d, n, count in ROWS[chosen]:
        for dtype in dtypes:
            yield from of_rows(d, n, count, dtype, device)


def seconds(step: Callable[[], object], device: str) -> list[float]:
    """The seconds of REPEATS steps after a warm-up: by CUDA events, without waiting in between, or by the clock."""
    for _ in range(3):
        step()
    if device != "cuda":
        marks = [time.perf_counter()]
        for _ in range(REPEATS):
            step()
            marks.append(time.perf_counter())
        return [end - begin for begin, end in pairwise(marks)]
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(REPEATS)]
    torch.cuda.synchronize()
    for begin, end in events:
        begin.record()
        step()
        end.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) / 1000 for begin, end in events]


def replayed(step: Callable[[], object]) -> dict[str, Any]:
    """The seconds of a step as a CUDA graph, or the reason why there is none."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
        return {"graph_seconds": seconds(graph.replay, "cuda")}
    except Exception as error:
        return {"graph_error": f"{type(error).__name__}: {error}"}


def measure(about: dict[str, Any], step: Callable[[], object], device: str) -> Row:
    """Time one operation; failing or running out of memory is a result too."""
    try:
        times = seconds(step, device)
    except Exception as error:
        return Row.ended(error, **about)
    return Row(**about, status="ok", seconds=times, **(replayed(step) if device == "cuda" else {}))


def _plan(d: int, n: int, device: str, on_grid: bool = False) -> Plan:
    return make_plan((d, d), torch.device(device), Entries(n, SEED, kind="grid" if on_grid else "random"))


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

"""The Triton kernel forms W + delta_W: interpreted without a GPU, and run on one where there is one."""

from types import SimpleNamespace

import pytest
import torch
from kernel_devices import devices
from torch import nn

from fourierft import Algorithm, Entries, FourierLinear, reference
from fourierft.choice import kernel_runs
from fourierft.plan import make_plan

kernel = pytest.importorskip("fourierft.kernel")

CPU = torch.device("cpu")
CASES = [((64, 48), 100), ((33, 40), 1320), ((1, 7), 5), ((130, 71), 65), ((5, 1), 3), ((1, 1), 1), ((128, 256), 1000)]

# What float16 tables leave, and the rounding of the result: the interpreter truncates to bfloat16, and tensor cores may
# truncate where they add up.
TOLERANCES = {torch.float32: 1e-5 if torch.cuda.is_available() else 1e-6, torch.float16: 6e-4, torch.bfloat16: 5e-3}


def exact(c, plan):
    """delta_W in float64 by the definition."""
    (entries,) = plan.entries
    return reference.delta_weight(c.double(), entries.sample(plan.shape).to(c.device), plan.shape, 90.0)


def assert_close(formed, expected):
    assert (formed - expected).norm() <= TOLERANCES[formed.dtype] * expected.norm()


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("shape", "n"), CASES)
@devices
def test_the_kernel_equals_the_definition(device, shape, n, dtype):
    plan, c = make_plan(shape, device, Entries(n, 7)), torch.randn(n, device=device)
    formed = kernel.delta_weight(c * plan.unit(90.0), plan, None, dtype)
    assert formed.dtype == dtype and formed.is_contiguous()
    assert_close(formed, exact(c, plan))


@devices
def test_the_tiles_of_large_matrices_cover_small_ones(device, monkeypatch):
    monkeypatch.setattr(kernel, "_tile", lambda *_: 128)
    for shape in ((300, 129), (256, 254)):
        plan, c = make_plan(shape, device, Entries(40, 8)), torch.randn(40, device=device)
        assert_close(kernel.delta_weight(c * plan.unit(90.0), plan, None, torch.float16), exact(c, plan))


@pytest.mark.parametrize("strides", ["contiguous", "transposed", "every third", "one row"])
@devices
def test_the_base_may_have_any_strides_and_dtype(device, strides):
    plan, c = make_plan((130, 71), device, Entries(65, 7)), torch.randn(65, device=device)
    base = {
        "contiguous": torch.randn(130, 71, device=device),
        "transposed": torch.randn(71, 130, device=device).t(),
        "every third": torch.randn(260, 213, device=device)[::2, ::3],
        "one row": torch.randn(71, device=device).expand(130, 71),
    }[strides]
    for dtype in (torch.float32, torch.bfloat16):
        narrow = base.to(dtype)
        assert_close(kernel.delta_weight(c * plan.unit(90.0), plan, narrow, dtype), narrow.double() + exact(c, plan))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("magnitude", [1e-30, 1e30, 0.0])
@devices
def test_coefficients_of_any_magnitude_keep_their_precision(device, magnitude, dtype):
    plan, c = make_plan((64, 48), device, Entries(100, 7)), torch.randn(100, device=device) * magnitude
    assert_close(kernel.delta_weight(c * plan.unit(90.0), plan, None, dtype), exact(c, plan))


@devices
def test_small_coefficients_beside_a_large_one_are_kept_in_float32(device):
    plan, c = make_plan((64, 48), device, Entries(100, 7)), torch.randn(100, device=device)
    c[0] = 1e4
    assert_close(kernel.delta_weight(c * plan.unit(90.0), plan, None, torch.float32), exact(c, plan))


@devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_by_the_kernel_equals_one_by_the_fft(device, dtype):
    layer = FourierLinear(nn.Linear(40, 48, dtype=dtype, device=device).requires_grad_(False), Entries(100), 90.0)
    layer.reset_spectrum("normal")
    x, g = torch.randn(3, 5, 40, device=device).to(dtype), torch.randn(3, 5, 48, device=device).to(dtype)
    x.requires_grad_()
    results = {}
    for forward in ("fft", "kernel"):
        layer.algorithm = Algorithm(forward=forward)
        y = layer(x)
        results[forward] = y, *torch.autograd.grad(y, (x, layer.fourierft_spectrum), g)
    for by_fft, by_kernel in zip(*results.values(), strict=True):
        assert by_kernel.dtype == by_fft.dtype
        assert (by_kernel - by_fft).norm() < (1e-5 if dtype == torch.float32 else 1e-2) * by_fft.norm()


@pytest.mark.parametrize("shape", [(64, 64), (768, 3072), (4096, 4096)])
def test_the_kernel_pays_up_to_an_n_that_is_smaller_for_float32(shape):
    sizes = [2**k for k in range(30)]
    low, wide = ([kernel.pays(shape, n, dtype) for n in sizes] for dtype in (torch.bfloat16, torch.float32))
    for pays in (low, wide):
        assert pays[0] and not pays[-1] and pays == sorted(pays, reverse=True)
    assert sum(low) > sum(wide)


def test_the_rule_takes_the_kernel_on_a_gpu_alone_and_never_in_float64_nor_where_triton_cannot_launch(monkeypatch):
    cuda = torch.device("cuda", 0)

    def forward(d, tokens, dtype=torch.float32, device=cuda):
        plan = SimpleNamespace(shape=(d, d), n=10, u=SimpleNamespace(device=device), native=False, grid=None)
        return Algorithm().resolve(plan, tokens, dtype, dtype).forward

    assert forward(64, 10**6) == "kernel"
    assert forward(64, 10**6, torch.float64) == "fft"
    assert forward(64, 10**6, device=CPU) == "fft"
    assert forward(4096, 1) == "tokens"
    assert forward(64, 1) == "kernel"  # where the launches cost more than all numbers
    assert not kernel_runs(torch.float64, CPU)
    monkeypatch.setattr("fourierft.choice._interprets", lambda: False)
    monkeypatch.setattr("fourierft.choice.LAUNCHES_KERNELS", False)
    assert forward(64, 10**6) == "fft"

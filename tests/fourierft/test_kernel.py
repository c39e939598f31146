"""The Triton kernel forms W + delta_W: interpreted and compiled without a GPU, and run on one where there is one."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fourierft import Algorithm, FourierLinear, spectral
from fourierft.choice import kernel_runs
from fourierft.plan import make_plan

triton = pytest.importorskip("triton")

CPU = torch.device("cpu")
CASES = [((64, 48), 100), ((33, 40), 1320), ((1, 7), 5), ((130, 71), 65), ((5, 1), 3), ((1, 1), 1), ((128, 256), 1000)]
# tests/conftest.py chooses the interpreter where there is no GPU; one process has the one or the other.
interpreter = pytest.mark.skipif(not triton.knobs.runtime.interpret, reason="needs Triton's interpreter")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
devices = pytest.mark.parametrize(
    "device",
    [pytest.param(CPU, marks=interpreter), pytest.param(torch.device("cuda", 0), marks=[pytest.mark.gpu, gpu])],
    ids=["interpreted", "cuda"],
)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("shape", "n"), CASES)
@devices
def test_the_kernel_equals_the_fft(device, shape, n, transposed):
    from fourierft.kernel import delta_weight

    plan, c = make_plan(shape, n, 7, None, device), torch.randn(n, device=device)
    weight = torch.randn(shape[::-1], device=device).t() if transposed else torch.randn(shape, device=device)
    exact = spectral.delta_weight(c.double(), plan, 90.0)

    formed = delta_weight(c, plan, 90.0, None, torch.float32)
    assert formed.dtype == torch.float32 and formed.is_contiguous()
    assert (formed - exact).norm() < 1e-5 * exact.norm()

    total = delta_weight(c, plan, 90.0, weight, torch.float32)
    assert (total - weight - exact).norm() < 1e-5 * (exact.norm() + weight.norm())

    # TF32 and the rounding of the result; Triton's interpreter truncates to bfloat16, a GPU rounds to nearest.
    narrow = delta_weight(c, plan, 90.0, None, torch.bfloat16)
    assert narrow.dtype == torch.bfloat16
    assert (narrow - exact).norm() < 5e-3 * exact.norm()


@devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_by_the_kernel_equals_one_by_the_fft(device, dtype):
    layer = FourierLinear(nn.Linear(40, 48, dtype=dtype, device=device).requires_grad_(False), 100, 90.0)
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


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fourierft import kernel

def source(dtype, has_base, precision):
    pointers = {"result": "*" + dtype, "base": "*" + dtype}
    pointers |= dict.fromkeys(["cos_u", "sin_u", "cos_v", "sin_v", "c_even", "c_odd"], "*fp32")
    constants = {"HAS_BASE": has_base, "PRECISION": precision, "TILE": kernel.TILE, "DEPTH": kernel.DEPTH}
    names = kernel._delta_weight.arg_names
    signature = {name: "constexpr" if name in constants else pointers.get(name, "i32") for name in names}
    places = {(names.index(name),): value for name, value in constants.items()}
    return ASTSource(kernel._delta_weight, signature, places)

for capability in (80, 90):
    for case in (("fp32", True, "tf32x3"), ("bf16", False, "tf32")):
        compiled = triton.compile(source(*case), target=GPUTarget("cuda", capability, 32))
        print("mma" in compiled.asm["ptx"], compiled.metadata.shared)
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the kernel is run, not only compiled")
def test_the_kernel_compiles_to_tensor_core_instructions_within_the_shared_memory(tmp_path):
    # In a process of its own: in this one Triton interprets.
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0, ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert len(lines) == 4
    assert all(uses == "True" and int(shared) <= 99 * 1024 for uses, shared in lines)  # what a block of an RTX 4090 has


def test_the_rule_takes_the_kernel_on_a_gpu_alone_and_never_in_float64():
    cuda = torch.device("cuda", 0)

    def forward(d, tokens, dtype=torch.float32, device=cuda):
        plan = SimpleNamespace(shape=(d, d), n=10, u=SimpleNamespace(device=device), native=False, grid=None)
        return Algorithm().resolve(plan, tokens, dtype, dtype).forward

    assert forward(64, 10**6) == "kernel"
    assert forward(64, 10**6, torch.float64) == "fft"
    assert forward(64, 10**6, device=CPU) == "fft"
    assert forward(4096, 1) == "branch"
    assert forward(64, 1) == "kernel"  # where the launches cost more than all numbers
    assert not kernel_runs(torch.float64, CPU)

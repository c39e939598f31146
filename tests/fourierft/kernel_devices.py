"""Where the tests of the Triton kernels run: in Triton's interpreter without a GPU, else on the GPU."""

import pytest
import torch

triton = pytest.importorskip("triton")

# tests/conftest.py chooses the interpreter where there is no GPU; one process has the one or the other.
interpreter = pytest.mark.skipif(not triton.knobs.runtime.interpret, reason="needs Triton's interpreter")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
devices = pytest.mark.parametrize(
    "device",
    [
        pytest.param(torch.device("cpu"), marks=interpreter),
        pytest.param(torch.device("cuda", 0), marks=[pytest.mark.gpu, gpu]),
    ],
    ids=["interpreted", "cuda"],
)

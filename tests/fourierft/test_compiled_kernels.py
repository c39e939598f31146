"""What the Triton kernels compile to, without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fourierft

pytest.importorskip("triton")


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the kernels are run, not only compiled")
def test_the_kernels_compile_to_what_makes_them_fast(tmp_path):
    # In a process of its own: in this one Triton interprets.
    paths = os.pathsep.join([str(Path(fourierft.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": paths,
    }
    script = Path(__file__).with_name("compile_kernels.py")
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path / "cubin")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(found) == 2
    for *formed, product, change in found:
        for kernel in formed:
            assert kernel["spilled"] == 0
            assert kernel["tensor_cores"] and kernel["shared"] <= 99 * 1024  # what a block of an RTX 4090 has
            assert kernel["loads_of_16"] and kernel["stores_of_16"]
            assert len(kernel["stores"]) == 4 and min(kernel["stores"]) >= 64  # those of the mirrors too
        for kernel in (product, change):
            assert kernel["spilled"] == 0 and kernel["loads_of_8"]

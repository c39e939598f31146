"""The patch for PEFT applies to PEFT, and passes its own tests there, and PEFT's for FourierFT.

The latter come with PEFT's source alone, not with the installed package: PEFT_SOURCE=FOLDER names where it lies.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT

PATCH = ROOT / "contrib/peft/fourierft_exact_fast.patch"
SOURCE = os.environ.get("PEFT_SOURCE")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def checkout(tmp_path):
    """PEFT's source with the patch; without PEFT_SOURCE the installed package in the source's layout, without tests."""
    package = Path(SOURCE, "src/peft") if SOURCE else Path(find_spec("peft").origin).parent
    shutil.copytree(package, tmp_path / "src/peft")
    if SOURCE:
        shutil.copytree(Path(SOURCE, "tests"), tmp_path / "tests")
    subprocess.run(["git", "apply", PATCH], cwd=tmp_path, check=True)
    return tmp_path


def run_tests(checkout, *options):
    """The output of pytest on the patched copy, without PEFT's own options, which need more plugins."""
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", checkout, *options]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    done = subprocess.run(command, cwd=checkout, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def test_the_patch_passes_its_own_tests(checkout):
    """One of them fails on PEFT's own layer: it is the patched copy that is tested."""
    assert "def test_no_dense_tensor_is_saved" in (checkout / "tests/test_fourierft.py").read_text()
    assert " passed" in run_tests(checkout, "tests/test_fourierft.py")


@pytest.mark.skipif(not SOURCE, reason="PEFT_SOURCE names no source of PEFT, which has its tests")
def test_the_patch_passes_peft_s_tests_of_fourierft(checkout):
    """Those that need no network. Their helpers import diffusers, for others; an empty one stands in for it."""
    (checkout / "tests/__init__.py").touch()  # the source distribution leaves it out
    if not find_spec("diffusers"):
        (checkout / "src/diffusers.py").write_text("StableDiffusionPipeline = None\n")
    assert " passed" in run_tests(checkout, "tests/test_custom_models.py", "-k", "FourierFT or fourierft")

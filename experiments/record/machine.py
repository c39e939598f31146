"""The machine that measured, and the version of the code that it ran."""

import functools
import os
import platform
import re
import reprlib
import shutil
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments import processes
from experiments.errors import UserError
from experiments.record.document import Count, Document, Part, Time

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fourierft", "torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "safetensors", "numpy")
PACKAGES += ("scipy", "scikit-learn", "timm", "triton", "bitsandbytes", "hydra-core", "wandb")


class Hardware(Part):
    """The machine, without its name.

    cpu: the model and, since it decides the speed and virtual machines hide most of the model, the instructions that
    torch uses, as in "AMD EPYC (AVX2)".
    """

    device: str
    cpu: str
    cores: Count
    memory_bytes: Count
    gpu: str | None = None
    gpus: Count = 0
    processes: Count = 1  # of the run, one GPU each
    gpu_memory_bytes: Count | None = None


class Measured(Document):
    """Base of what one machine measured, and by which code."""

    hardware: Hardware
    versions: dict[str, str]
    commit: str | None = None
    dirty: bool | None = None
    started: Time
    ended: Time

    @property
    def mark(self) -> str:
        """‡ unless the code was at a clean commit."""
        return "" if self.dirty is False else "‡"


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware(device: str) -> dict[str, Any]:
    """The fields of `Hardware` for this machine. device: what was used, cpu or cuda; a GPU that was not used is left
    out."""
    import torch  # here: records are read without it

    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else []
    cpu = names[0] if names else platform.processor() or platform.machine()
    machine = {
        "device": device,
        "cpu": f"{cpu} ({torch.backends.cpu.get_cpu_capability()})",
        "cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "processes": processes.count(),
    }
    if device != "cuda":
        return machine
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {**machine, "gpu": gpu.name, "gpus": torch.cuda.device_count(), "gpu_memory_bytes": gpu.total_memory}


def is_slow_in_bf16() -> bool:
    """Whether torch has no fast products in bf16 on this CPU: then autocast takes many times as long as fp32."""
    import torch

    return torch.backends.mkldnn.is_available() and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that a result depends on."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def provenance() -> dict[str, Any]:
    """The fields of a record that identify the code: versions, commit, dirty; as they were when it was first asked for,
    since the process runs the code that it has read."""
    sha, dirty = _commit_of_process()
    return {"versions": versions(), "commit": sha, "dirty": dirty}


@functools.cache
def _commit_of_process() -> tuple[str | None, bool | None]:
    return commit()


def circumstances(device: str) -> dict[str, Any]:
    """The fields of `Measured` that are known before anything is measured. device: cpu or cuda."""
    return {"hardware": hardware(device), **provenance(), "started": now()}


def commit(root: Path = ROOT) -> tuple[str | None, bool | None]:
    """The commit checked out at `root`, and whether the code differs from it; (None, None) where neither is known.

    Files below results/ and runs/ are not code: a run must not make the next one dirty. A copy without .git is
    identified by its file COMMIT; raises UserError where that holds no commit.
    """
    if not (root / ".git").exists():
        return _packed(root / "COMMIT")
    git = shutil.which("git")
    if git is None:
        return None, None

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([git, "-C", str(root), *arguments], capture_output=True, text=True, check=False)

    head = run("rev-parse", "--show-toplevel", "--verify", "HEAD")
    status = run("status", "--porcelain", "--", ".", ":!results", ":!runs")
    if head.returncode or status.returncode:
        return None, None
    top, sha = head.stdout.splitlines()
    # Where .git is broken, git answers for a repository that encloses this one.
    return (sha, bool(status.stdout)) if Path(top) == Path(root).resolve() else (None, None)


def _packed(stamp: Path) -> tuple[str | None, bool | None]:
    """The commit that a folder was packed from, and whether the code was dirty: one line, "<commit> clean|dirty"."""
    if not stamp.exists():
        return None, None
    line = stamp.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch("([0-9a-f]{40}|[0-9a-f]{64}) (clean|dirty)", line):
        raise UserError(f"{stamp}: {reprlib.repr(line)} is no commit and clean or dirty; write it anew or remove it")
    sha, state = line.split()
    return sha, state == "dirty"

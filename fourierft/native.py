"""`tokens.py` on a CPU in C (native.c), compiled when first used on a machine, in less than a second.

Each transform of torch, and each index, transpose and sum between transforms, reads and writes memory. In C a few rows
at a time stay in the cache from beginning to end, which takes a tenth of the time. Without a C compiler (`CC`, or cc)
torch computes the same, up to rounding. The compiled file is kept in `$XDG_CACHE_HOME/fourierft`, by default
~/.cache/fourierft, under a name that depends on source, compiler and processor.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SOURCE = Path(__file__).with_suffix(".c")
COMPILE, LINK = ("-O3", "-fPIC", "-Wno-psabi", "-c"), ("-shared",)
# The first flags that the compiler accepts are used. Linked without -fopenmp, so that OpenMP is the library that torch
# has loaded: two would compete for the cores. Without OpenMP one core is used.
FLAGS = ("-march=native", "-fopenmp"), ("-march=native",), ("-fopenmp",), ()
DTYPES = (torch.float32, torch.bfloat16)  # of rows


def available(*lengths: int) -> bool:
    """Whether rows of these lengths can be transformed here: they must be even, without a prime factor above 61.

    The first call on a machine compiles.
    """
    return library() is not None and all(_transform(length) for length in lengths)


@cache
def library() -> Any:
    """The compiled library; None without a compiler, or, with a warning that says why, if it fails."""
    try:
        return _load()
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        warnings.warn(f"{SOURCE.name} is not used, torch alone is: {said[-1] if said else error}", stacklevel=2)
        return None


def through_spectrum(
    x: Tensor,
    source: Tensor,
    target: Tensor,
    sign: Tensor,
    factor: Tensor | None = None,
    y: Tensor | None = None,
    w: Tensor | None = None,
) -> Tensor:
    """Adds to y the change of the rows x by `factor`, and returns the sampled product of x and w.

    x: (T, from), y and w: (T, to), narrower than float64; source, target: (n,) int64, frequencies of x, and of y and w;
    sign: (n,) float32; factor: (n,), or (rows, n), each for the next T / rows rows of x, float32, needed with y. With
    X, W the real transforms of x and w:

        y += irfft(Y, norm="forward"),   Y[target_k] += factor_k (Re X[source_k] - i sign_k Im X[source_k])
        returned:   sum_t Re X[source_k] Re W[target_k] - sign_k Im X[source_k] Im W[target_k]

    Returns (n,) float64, zeros without w. For lengths that are `available`.
    """
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return _operator(x, source, target, sign, factor, y, w)
    plain: list[Any] = [rows if rows is None else _plain(rows) for rows in (x, w, y)]
    x, w, into = plain
    ends = _transform(x.shape[1]), _transform((into if w is None else w).shape[1])
    threads, n = torch.get_num_threads(), len(source)
    factor = factor if factor is None else factor.contiguous()
    alike = len(x) if factor is None or factor.dim() == 1 else len(x) // len(factor)
    memory = torch.empty(threads * library().room(*ends, n), dtype=torch.uint8, device="cpu")
    sums = torch.zeros(threads, n, dtype=torch.float64, device="cpu")
    tables = (_address(table) for table in (source, target, sign, factor))
    rows = (part for one in plain for part in (_address(one), one is not None and one.dtype == torch.bfloat16))
    library().through_spectrum(len(x), threads, _address(memory), *ends, n, *tables, alike, *rows, _address(sums))
    if y is not None and into is not y:
        y.copy_(into)
    return sums.sum(0)


# One node in the graph of torch.compile, which cannot trace it. Modes that follow each operator, such as make_fx and
# selective checkpoints, learn from it that y changes. It takes some 50 microseconds more than the function.
_operator = torch.library.custom_op("fourierft::through_spectrum", through_spectrum, mutates_args=("y",))
_operator.register_fake(lambda x, source, *others: x.new_empty(len(source), dtype=torch.float64))


def _plain(rows: Tensor) -> Tensor:
    return (rows if rows.dtype in DTYPES else rows.float()).contiguous()


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


@cache
def _transform(length: int) -> int:
    """The address of the transform of this length; 0 if there is none."""
    return library().make_transform(length) or 0


def _load() -> ctypes.CDLL | None:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    path = shutil.which(compiler[0]) if compiler else None
    if path is None:
        return None
    what = [SOURCE.read_text(), path, *compiler[1:], COMPILE, LINK, FLAGS, _processor()]
    name = f"native-{hashlib.sha256(repr(what).encode()).hexdigest()[:16]}.so"
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fourierft"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = folder / name
        if not _loads(kept):
            with tempfile.TemporaryDirectory(dir=folder) as work:
                os.replace(_compile(compiler, Path(work)), kept)
        return _declare(ctypes.CDLL(str(kept)))
    except (PermissionError, RuntimeError):  # the cache is not ours, or no home is known: for this process only
        with tempfile.TemporaryDirectory() as work:
            return _declare(ctypes.CDLL(str(_compile(compiler, Path(work)))))


def _loads(path: Path) -> bool:
    try:
        return path.exists() and bool(ctypes.CDLL(str(path)))
    except OSError:  # damaged, or compiled for another OpenMP
        return False


def _compile(compiler: list[str], work: Path) -> Path:
    part, whole, errors = work / "native.o", work / "native.so", []
    for flags in FLAGS:
        try:
            for arguments in ([*flags, *COMPILE, SOURCE, "-o", part], [*LINK, part, "-o", whole, "-lm"]):
                subprocess.run([*compiler, *arguments], check=True, capture_output=True, text=True, timeout=120)
            ctypes.CDLL(str(whole))
            return whole
        except (OSError, subprocess.SubprocessError) as error:
            errors.append(error)
    raise errors[0]


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.make_transform.restype, library.make_transform.argtypes = pointer, (ctypes.c_int,)
    library.room.restype, library.room.argtypes = number, (pointer, pointer, number)
    rows = (pointer, ctypes.c_int)
    library.through_spectrum.restype = None
    library.through_spectrum.argtypes = (
        *(number, ctypes.c_int, pointer, pointer, pointer, number),
        *(pointer, pointer, pointer, pointer, number, *rows, *rows, *rows, pointer),
    )
    return library


def _processor() -> str:
    """What -march=native depends on: a home may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())

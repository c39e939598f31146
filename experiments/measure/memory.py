"""Memory of a training step: the exact bytes that autograd saves for the backward pass, and the peak."""

import gc
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# In the RuntimeErrors of torch's CPU allocator, cuBLAS and cuFFT; CUDA's allocator has an exception class.
NO_MEMORY = ("can't allocate memory", "ALLOC_FAILED")


def saved_for_backward(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that one `forward()` saves for the backward pass: each storage once, without parameters and buffers.

    Leaves the random state unchanged, so that measuring does not change a run. On the meta device it gives the bytes of
    a CPU, or within `AsOnGpu` those of a GPU, without allocating them.
    """
    # One object per storage identifies it: on the meta device all have the address 0.
    owned = {id(storage): storage for storage in map(Tensor.untyped_storage, (*model.parameters(), *model.buffers()))}
    saved, alive = {}, []

    def keep(tensor: Tensor) -> None:  # not the tensor: a node that keeps its own output is never freed
        alive.append(tensor)  # until the end, as in training, so that layers may share it
        dense = (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,)
        storages = map(Tensor.untyped_storage, dense)
        saved.update((id(storage), storage) for storage in storages if id(storage) not in owned)

    try:
        with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(keep, lambda nothing: nothing):
            forward()
    finally:
        alive.clear()
    return sum(storage.nbytes() for storage in saved.values())


class AsOnGpu(TorchFunctionMode):
    """A context in which dropout saves a mask of one byte per element, as on a GPU; a CPU saves four."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        run = _dropout if function is functional.dropout else function
        return run(*args, **kwargs or {})


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return torch.native_dropout(input, p, training)[0] if training and 0 < p < 1 else input


def ran_out(error: Exception) -> bool:
    """Whether the error means that memory ran out, on any device."""
    refused = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return refused or isinstance(error, (torch.OutOfMemoryError, MemoryError))


def free(device: str) -> None:
    """Give back what an earlier run or case left in cycles of references: it would count in the next peak, or leave too
    little of the device."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def start_peak(device: str) -> None:
    """Measure the peak of `device` from here on; for cpu where it is Linux's to reset, else it is the process's."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_of(step: Callable[[], object], device: str) -> int | None:
    """Peak bytes on the GPU, of the second of two steps, since the first makes what stays, as an optimizer's state;
    None, without a step, if the device is no GPU."""
    if device != "cuda":
        return None
    step()
    start_peak(device)
    step()
    return peak(device)


def peak(device: str) -> int:
    """Peak bytes: allocated on the GPU, or, for `device` cpu, resident in the process, since `start_peak`."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

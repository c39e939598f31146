"""Memory of a training step: exactly what autograd keeps for the backward, and the peak."""

import resource
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# What RuntimeErrors of torch's CPU allocator, and of cuBLAS and cuFFT, say where CUDA's has an exception of its own.
NO_MEMORY = ("can't allocate memory", "ALLOC_FAILED")


def saved_for_backward(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that one `forward()` of `model` saves for its backward: each storage once, parameters and buffers not.

    `forward` returns the loss. The random state is left as it was, so that measuring does not change a run. On the meta
    device the bytes are the same: those of a CPU, or `AsOnGpu` those of a GPU, without the memory.
    """
    # One object a storage, by which it is told apart: on the meta device all have the address 0.
    owned = {id(storage): storage for storage in map(_storage, (*model.parameters(), *model.buffers()))}
    saved = {}

    def keep(tensor: Tensor) -> Tensor:
        dense = (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,)
        saved.update((id(storage), storage) for storage in map(_storage, dense) if id(storage) not in owned)
        return tensor

    with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in saved.values())


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


class AsOnGpu(TorchFunctionMode):
    """Within it dropout is one kernel on any device: it keeps a mask of one byte a number, where a CPU keeps four."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        run = _dropout if function is functional.dropout else function
        return run(*args, **kwargs or {})


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return torch.native_dropout(input, p, training)[0] if training and 0 < p < 1 else input


def ran_out(error: Exception) -> bool:
    """Whether the error says that there was no memory left, on whichever device."""
    refused = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return refused or isinstance(error, (torch.OutOfMemoryError, MemoryError))


def start_peak(device: str) -> None:
    """Count the peak of `device`, cpu or cuda, from here on, where it can."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> int:
    """Bytes: the most that was allocated on the GPU; for `device` cpu the most that the process had resident."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

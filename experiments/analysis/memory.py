"""Memory of a training step: exactly what autograd keeps for the backward, and the peak."""

import resource
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn


def saved_for_backward(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that one `forward()` of `model` saves for its backward: each storage once, parameters and buffers not.

    `forward` returns the loss. The random state is left as it was, so that measuring does not change a run.
    """
    owned = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}
    alive = []  # keeps every storage, lest its address be used twice

    def keep(tensor: Tensor) -> Tensor:
        dense = (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,)
        for storage in (part.untyped_storage() for part in dense):
            if storage.data_ptr() not in owned:
                saved[storage.data_ptr()] = storage.nbytes()
                alive.append(storage)
        return tensor

    with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(saved.values())


def start_peak() -> None:
    """Count the peak from here on, where the device can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> int:
    """Bytes: the most that was allocated on the GPU; without one, the most that the process had resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

"""The speed of a data loader alone, without the model that waits for it."""

import time
from itertools import islice

from torch.utils.data import DataLoader

PATIENCE = 2.0  # seconds


def rate(loader: DataLoader) -> float | None:
    """Examples a second: of one pass, or of PATIENCE seconds of it if that is less.

    The clock starts after the batches that its processes may have ready by then; None where none is left to count.
    """
    batches = iter(loader)
    for _ in islice(batches, 1 + loader.num_workers * (loader.prefetch_factor or 0)):
        pass
    count, started, now = 0, time.perf_counter(), 0.0
    for batch in batches:
        count += len(batch["labels"])
        now = time.perf_counter()
        if now - started > PATIENCE:
            break
    return count / (now - started) if count else None

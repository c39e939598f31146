"""GPU memory and time of a training step of RoBERTa-large on six GLUE tasks, by method, beside the numbers that the
project's page prints for LoRA and FourierFT.

The exact bytes take a minute in all, without a GPU or the memory. With a GPU, the peak and the time of every step are
measured too.
"""

from experiments.studies.memory.study import Memory

__all__ = ["Memory"]

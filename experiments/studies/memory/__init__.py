"""GPU memory and time: what a training step of RoBERTa-large needs on six GLUE tasks, method by method, beside what the
project's page prints for LoRA and FourierFT.

Exact bytes need neither a GPU nor the memory: a minute for everything. Where there is a GPU the peak and the
time of every step are measured too.
"""

from experiments.studies.memory.study import Memory

__all__ = ["Memory"]

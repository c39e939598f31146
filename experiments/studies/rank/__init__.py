"""Rank of delta_W (the project page, on RTE): FourierFT against LoRA, its relatives and full fine-tuning.

A high rank may be learnt or given. So the ranks of every trained FourierFT stand beside those of the same adapter
before training, and beside what the construction gives for every n (`construction.py`).
"""

from experiments.studies.rank.study import RankOfDelta

__all__ = ["RankOfDelta"]

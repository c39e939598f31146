"""Rank of delta_W (the project page, on RTE): FourierFT against LoRA, its relatives and full fine-tuning.

A high rank may be learnt, or given by the construction. So the ranks of every trained FourierFT are compared with those
of the same adapter before training, and with those of the construction for every n (`construction.py`).
"""

from experiments.studies.rank.study import RankOfDelta

__all__ = ["RankOfDelta"]

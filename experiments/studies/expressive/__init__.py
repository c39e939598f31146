"""Expressive power (Figure 7): what 128 numbers can do to one 64 x 64 layer that has to separate eight classes.

The paper gives the classes, the layer and the two methods; `outcome.py` says what it leaves open and what is chosen
here, `data.py` draws the points, `model.py` is the network and its weight changes, `training.py` trains and searches,
`study.py` measures all of it and `picture.py` draws it.
"""

from experiments.studies.expressive.study import Expressive

__all__ = ["Expressive"]

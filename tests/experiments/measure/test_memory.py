"""What a step saves for its backward pass, and that measuring it leaves nothing behind."""

import gc

import torch
from torch import nn

from experiments.measure.memory import saved_for_backward


def test_nothing_stays_of_a_step_that_was_measured():
    """Nodes that save their own output included; else every run of a sweep would keep a step's memory, and a GPU's peak
    would count it."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Softmax(-1))
    x = torch.ones(4, 8)
    found = []
    for _ in range(2):
        # The input of the layer; the outputs of tanh and of softmax.
        assert saved_for_backward(model, lambda: model(x).sum()) == 3 * x.nbytes
        gc.collect()
        found.append(sum(isinstance(one, torch.Tensor) for one in gc.get_objects()))
    assert found[0] == found[1]

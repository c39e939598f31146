"""What a step saves for its backward pass, and that measuring it leaves nothing behind."""

import gc
import sys

import pytest
import torch
from torch import nn

from experiments.measure.memory import peak, saved_for_backward, start_peak


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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is the process's")
def test_the_peak_of_a_small_run_is_not_that_of_a_large_one_before():
    large = bytearray(2**28)
    before = peak("cpu")
    del large
    start_peak("cpu")
    assert peak("cpu") < before - 2**27

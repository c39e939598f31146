"""The paper's definition, written as `ifft2`, is the sum of cosines that the paper's Equation 3 spells out."""

import math

import pytest
import torch

from fourierft import Entries, reference


def cosine_sum(c, entries, shape, scale):
    p, q = (torch.arange(d, dtype=torch.float64)[:, None] for d in shape)
    u, v = entries.double()
    delta = torch.zeros(shape, dtype=torch.float64)
    for k in range(len(c)):
        angle = 2 * math.pi * (u[k] * p / shape[0] + v[k] * q.T / shape[1])
        delta += scale / (shape[0] * shape[1]) * c[k] * torch.cos(angle)
    return delta


@pytest.mark.parametrize("shape", [(8, 8), (9, 7), (6, 11), (1, 5)])
def test_delta_weight_is_the_sum_of_cosines(shape):
    entries = Entries(5, 3).sample(shape)
    c = torch.randn(5, dtype=torch.float64)
    expected = cosine_sum(c, entries, shape, scale=70.0)
    torch.testing.assert_close(reference.delta_weight(c, entries, shape, 70.0), expected, rtol=0, atol=1e-12)


def test_forward_is_the_linear_layer_with_the_changed_weight():
    x, weight, bias = torch.randn(2, 3, 6), torch.randn(4, 6), torch.randn(4)
    c, entries = torch.randn(5), Entries(5, 3).sample((4, 6))
    changed = weight + cosine_sum(c, entries, (4, 6), 70.0).float()
    torch.testing.assert_close(reference.forward(x, weight, bias, c, entries, 70.0), x @ changed.T + bias)

"""How the tests compare layers."""

import torch


def outputs_and_grads(function, layer, x, g):
    """y, dx and dc of sum(function(x) * g)."""
    x = x.detach().requires_grad_()
    y = function(x)
    return y.detach(), *torch.autograd.grad(y, (x, layer.fourierft_spectrum), g.to(y.dtype))


def relative_error(actual, expected):
    return float((actual.double() - expected.double()).detach().norm() / expected.detach().double().norm())

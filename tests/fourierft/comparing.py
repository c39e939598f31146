"""How the tests move a model from its start, and compare layers."""

from contextlib import contextmanager

import torch


def outputs_and_grads(function, layer, x, g):
    """y, dx and dc of sum(function(x) * g)."""
    x = x.detach().requires_grad_()
    y = function(x)
    return y.detach(), *torch.autograd.grad(y, (x, layer.fourierft_spectrum), g.to(y.dtype))


def relative_error(actual, expected):
    return float((actual.double() - expected.double()).detach().norm() / expected.detach().double().norm())


def moved(model, by=0.1):
    """The model with all that trains moved by random numbers of this standard deviation."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=by)
    return model


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

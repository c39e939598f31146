"""This library and PEFT's FourierFT are the same function of the same numbers, and train to the same coefficients."""

import peft
import pytest
import torch
from torch import nn

import fourierft
from fourierft import Entries, FourierConfig


class Network(nn.Module):
    """An attention-like network of three widths, with a residual path, as small as a real one's algebra allows."""

    def __init__(self):
        super().__init__()
        self.query, self.value, self.out = nn.Linear(24, 36), nn.Linear(24, 24), nn.Linear(36, 24)

    def forward(self, x):
        return self.out(torch.tanh(self.query(x + torch.tanh(self.value(x)))))


def twins(model, scale=7.0, **targets):
    """The model adapted here and a copy adapted by PEFT, with equal coefficients."""
    torch.manual_seed(1)
    ours = fourierft.adapt(model(), FourierConfig(40, scale, entry_seed=777, **targets))
    torch.manual_seed(1)
    config = peft.FourierFTConfig(n_frequency=40, scaling=scale, target_modules=list(targets["targets"]))
    return ours, peft.get_peft_model(model(), config)


def network():
    torch.manual_seed(0)
    return Network()


def coefficients(model):
    return [p for name, p in model.named_parameters() if "fourierft_spectrum" in name]


def test_positions_and_initial_coefficients_are_peft_s():
    ours, theirs = twins(network, targets=("query", "value"))
    for name in ("query", "value"):
        layer = getattr(theirs.base_model.model, name)
        assert torch.equal(Entries(40, 777).sample((layer.out_features, layer.in_features)), layer.indices["default"])
    assert all(torch.equal(a, b) for a, b in zip(coefficients(ours), coefficients(theirs), strict=True))


def test_output_and_both_gradients_equal_peft_s():
    ours, theirs = twins(network, targets=("query", "value", "out"))
    x, g = torch.randn(5, 7, 24), torch.randn(5, 7, 24)
    results = []
    for model in (ours, theirs):
        inputs = x.clone().requires_grad_()
        y = model(inputs)
        results.append((y, *torch.autograd.grad(y, [inputs, *coefficients(model)], g)))
    for actual, expected in zip(*results, strict=True):
        assert (actual - expected).norm() < 1e-5 * expected.norm()


def test_conv1d_equals_peft_s(gpt2, tokens):
    with pytest.warns(UserWarning, match="fan_in_fan_out"):
        ours, theirs = twins(gpt2, scale=5.0, targets=("c_attn", "c_proj"))
    actual, expected = ours(tokens).logits, theirs(tokens).logits
    assert (actual - expected).norm() < 1e-5 * expected.norm()


def test_a_hundred_steps_of_training_stay_together():
    """The coefficients differ by rounding alone, in 100 steps that move them by more than 0.1.

    Float32 rounding is 1e-7 a step; AdamW divides by the gradient's size and so carries it into steps of 1e-2. One
    wrong gradient would part the two by as much as training moves them: 1e-4 tells the cases apart.
    """
    ours, theirs = twins(network, targets=("query", "value", "out"))
    start = [c.detach().clone() for c in coefficients(ours)]
    batches, targets = torch.randn(100, 16, 24), torch.randn(100, 16, 24)
    for model in (ours, theirs):
        optimizer = torch.optim.AdamW(coefficients(model), lr=1e-2)
        for x, target in zip(batches, targets, strict=True):
            loss = nn.functional.mse_loss(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for before, actual, expected in zip(start, coefficients(ours), coefficients(theirs), strict=True):
        assert (actual - before).abs().max() > 0.1
        assert (actual - expected).abs().max() < 1e-4

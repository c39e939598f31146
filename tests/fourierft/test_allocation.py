"""`allocate` estimates the energy of the weights' gradients, and shares out a budget by it to the last coefficient."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

import fourierft
from fourierft import FourierConfig, FourierError
from fourierft.allocation import energies


class Network(nn.Module):
    """Three shapes, an unused layer, and gradients of very different size."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.square, self.up, self.qkv = nn.Linear(12, 12), nn.Linear(12, 30), nn.Linear(12, 36)
        self.unused, self.classifier = nn.Linear(12, 12), nn.Linear(66, 3)

    def forward(self, x):
        x = torch.tanh(self.square(x))
        return self.classifier(torch.cat([torch.tanh(self.up(x)), 0.01 * self.qkv(x)], dim=-1))


CONFIG = FourierConfig(20, "auto", "all-linear", ("classifier",), init="zeros")


def backward(model, batches=3):
    generator = torch.Generator().manual_seed(2)
    for _ in range(batches):
        x = torch.randn(8, 12, generator=generator)
        model(x).square().sum().backward()
    return model


def probed(**settings):
    return backward(fourierft.adapt(Network(), dataclasses.replace(CONFIG, **settings)))


def estimates(**settings):
    return energies(fourierft.fourier_layers(probed(**settings)))


def dense(basis="orthogonal"):
    """||G||^2, G = dL/dW, of each layer of the plain model; for cosines twice that of its point-symmetric part."""
    model, found = backward(Network()), {}
    for name in ("square", "up", "qkv"):
        gradient = getattr(model, name).weight.grad.double()
        mirrored = gradient.roll((-1, -1), (0, 1)).flip(0, 1)  # G[-p, -q]
        seen = gradient if basis != "fourier" else (gradient + mirrored) / 2**0.5
        found[name] = float(seen.square().sum())
    return found


@pytest.mark.parametrize("scale", ["auto", 3.0])
@pytest.mark.parametrize("basis", ["fourier", "orthogonal"])
def test_all_coefficients_give_the_dense_gradient(scale, basis):
    full = {"square": 144, "up": 360, "qkv": 432, "unused": 144}
    found = estimates(n_pattern=full, basis=basis, scale=scale)
    assert found == pytest.approx({**dense(basis), "unused": 0.0}, rel=1e-4)


@pytest.mark.parametrize("basis", ["fourier", "orthogonal", "dct"])
def test_a_few_at_random_give_it_in_expectation(basis):
    exact, draws = dense(basis), 150
    numbers = {"square": 30, "up": 20, "qkv": 60}
    sums = dict.fromkeys(exact, 0.0)
    for seed in range(draws):
        found = estimates(n_pattern=numbers, basis=basis, entry_seed=seed)
        sums = {name: total + found[name] for name, total in sums.items()}
    for name, total in sums.items():
        assert total / draws == pytest.approx(exact[name], rel=0.2), name


def test_parts_have_the_mean_energy_of_their_rows():
    found = estimates(targets=("qkv:q,v", "up"), basis="identity", n_pattern={"qkv": 144, "up": 360})
    gradient = backward(Network()).qkv.weight.grad.double().square()
    assert found["qkv"] == pytest.approx(float(gradient[:12].sum() + gradient[24:].sum()) / 2, rel=1e-5)


# Shares ---------------------------------------------------------------------------------------------------------------


def given(energy, budget, floor=1, side=40, **settings):
    """What `allocate` gives to layers of one shape with gradients of these energies."""
    model = nn.ModuleDict({name: nn.Linear(side, side) for name in energy})
    fourierft.adapt(model, FourierConfig(10, 1.0, tuple(energy), init="zeros", **settings))
    for name, layer in model.items():
        if energy[name] is not None:
            layer.fourierft_spectrum.grad = torch.full((10,), (energy[name] / 10) ** 0.5)
    return fourierft.allocate(model, budget, floor)


def test_the_rest_above_the_floor_is_in_proportion():
    assert given({"a": 1.0, "b": 3.0, "c": 6.0}, 130, floor=10) == {"a": 20, "b": 40, "c": 70}
    assert given({"a": 1.0, "b": None, "c": 1.0}, 70, floor=10) == {"a": 30, "b": 10, "c": 30}


def test_the_largest_remainders_are_rounded_up():
    assert given({"a": 1.4, "b": 2.5, "c": 6.1}, 13) == {"a": 2, "b": 4, "c": 7}
    assert given({"a": 1.0, "b": 1.0, "c": 1.0}, 104, floor=2) == {"a": 35, "b": 35, "c": 34}


def test_no_matrix_gets_more_than_its_positions_and_the_others_get_the_rest():
    assert given({"a": 1.0, "b": 1.0, "c": 1e6}, 40, side=4) == {"a": 12, "b": 12, "c": 16}
    assert given({"a": None, "b": None, "c": 1.0}, 40, side=4) == {"a": 12, "b": 12, "c": 16}
    assert given({"a": 1.0, "b": 2.0}, 32, side=4) == {"a": 16, "b": 16}
    assert given({"a": 1.0, "b": 1e9}, 16, side=4, band=(1, 2)) == {"a": 1, "b": 15}


def test_the_sum_is_the_budget_whatever_the_energies():
    generator = torch.Generator().manual_seed(3)
    for budget in (60, 61, 997, 12_000):
        energy = dict(zip("abcdefghij", torch.rand(10, generator=generator).pow(6).tolist(), strict=True))
        n = given(energy, budget, floor=6)
        assert sum(n.values()) == budget and min(n.values()) >= 6 and max(n.values()) <= 1600


@pytest.mark.parametrize("budget", [200, 201])
def test_each_part_counts_and_an_odd_rest_goes_to_a_whole_layer(budget):
    model = probed(targets=("qkv:q,v", "up"))
    n = fourierft.allocate(model, budget, floor=8)
    assert 2 * n["qkv"] + n["up"] == budget and min(n.values()) >= 8
    model = probed(targets=("qkv:q,v",))
    assert fourierft.allocate(model, 61, floor=8) == {"qkv": 30}


# In use ---------------------------------------------------------------------------------------------------------------


def test_a_model_trains_with_the_budget_that_was_shared_out(tmp_path):
    model = Network()
    probe = backward(fourierft.adapt(copy.deepcopy(model), CONFIG))
    pattern = fourierft.allocate(probe, 301, floor=10)
    fourierft.adapt(model, dataclasses.replace(CONFIG, n_pattern=pattern))
    assert fourierft.count(model).adapter == sum(pattern.values()) == 301
    assert pattern["up"] > pattern["square"] > pattern["qkv"] >= pattern["unused"] == 10
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    before = float(model(torch.ones(8, 12)).square().sum())
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(8, 12)).square().sum().backward()
        optimizer.step()
    assert float(model(torch.ones(8, 12)).square().sum()) < before
    fourierft.save(model, tmp_path, peft=True)
    x = torch.randn(4, 12)
    frozen = Network()
    frozen.classifier.load_state_dict(model.classifier.state_dict())
    assert torch.equal(fourierft.load(frozen, tmp_path)(x), model(x))


# Wrong turns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "floor", "message"),
    [
        (99, 25, r"budget=99 is not possible: .* from 100, floor=25 for each of 4 matrices, to 1080, or a lower floor"),
        (1081, 25, r"budget=1081 is not possible: .* to 1080,"),
        (300.0, 25, r"budget=300\.0 "),
        (300, 0, r"floor=0 is not possible: give an integer from 1 to 144, the positions of square"),
        (300, 145, r"floor=145 "),
        (300, None, r"floor=None "),
    ],
)
def test_a_budget_or_floor_that_does_not_fit_is_refused(budget, floor, message):
    with pytest.raises(FourierError, match=f"^{message}"):
        fourierft.allocate(probed(), budget, floor)


def test_without_usable_gradients_there_is_no_share():
    model = fourierft.adapt(Network(), CONFIG)
    with pytest.raises(FourierError, match="run the backward passes of a few batches first"):
        fourierft.allocate(model, 300)
    backward(model)
    model.up.fourierft_spectrum.grad[3] = torch.inf
    with pytest.raises(FourierError, match="the gradient of up is not finite"):
        fourierft.allocate(model, 300)
    model.zero_grad(set_to_none=False)
    with pytest.raises(FourierError, match="no coefficient has a gradient other than zero"):
        fourierft.allocate(model, 300)


def test_a_grid_and_a_plain_model_are_refused():
    with pytest.raises(FourierError, match=r'a grid needs .* adapt with entries="random"'):
        fourierft.allocate(probed(entries="grid"), 300)
    with pytest.raises(FourierError, match="no FourierFT layer"):
        fourierft.allocate(Network(), 300)

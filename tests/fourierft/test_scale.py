"""scale="auto": a step of the optimiser moves every model equally far, and files lose nothing of the layers' scales."""

import copy
import json
import math
import warnings
from dataclasses import replace

import peft
import pytest
import torch
from comparing import relative_error
from safetensors.torch import load_file, save_file
from torch import nn

import fourierft
from fourierft import FourierConfig, FourierError, auto_movement, movement


class Network(nn.Module):
    """Three widths, so that the rule's scales are 1 : 2.2 : 5, and the layers' 1 : 2 : 4."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.small, self.up, self.large = nn.Linear(24, 24), nn.Linear(24, 120), nn.Linear(120, 120)
        self.classifier = nn.Linear(120, 3)

    def forward(self, x):
        return self.classifier(torch.tanh(self.large(torch.tanh(self.up(torch.tanh(self.small(x)))))))


CONFIG = FourierConfig(n=8, scale="auto", targets=("small", "up", "large"), head=("classifier",), init="zeros")


def adapted(config=CONFIG, seed=2):
    model = fourierft.adapt(Network(), config)
    torch.manual_seed(seed)
    for layer in layers(model):
        layer.reset_spectrum("normal")
    return model


def layers(model):
    return list(fourierft.fourier_layers(model).values())


def scales(model):
    return [layer.scale for layer in layers(model)]


def rule(shape, n, matrices):
    """Beyond a third of the width the scale falls as 1 / n, below as 1 / sqrt(n)."""
    scale, width = 12 * math.sqrt(2 * math.prod(shape) / (n * matrices)), math.sqrt(math.prod(shape))
    return scale * math.sqrt(width / (3 * n)) if 3 * n > width else scale


def moved_by_the_rule(model):
    """The movement, matrix by matrix: 12 in all, less for matrices with many coefficients."""
    each = [(layer.matrix_shape, layer.entries.n) for layer in layers(model) for _ in layer.parts or [""]]
    squares = (rule(shape, n, len(each)) ** 2 * n / (2 * math.prod(shape)) for shape, n in each)
    return math.sqrt(sum(squares))


def nested():
    return nn.ModuleDict({"qkv": nn.Linear(24, 72), "fc": nn.Linear(24, 120), "out": nn.Linear(24, 24)}).double()


GENERAL = {"n": 50, "scale": "auto", "targets": ("qkv", "fc"), "init": "zeros"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"targets": ("qkv:q,v", "fc")},
        {"targets": ("qkv:q,k,v",)},
        {"basis": "random"},
        {"basis": "orthogonal"},
        {"basis": "dct"},
        {"basis": "identity"},
        {"entries": "grid", "n": 60},
        {"band": (3, 4)},
        {"shared_entries": False},
    ],
)
def test_a_step_moves_the_weights_by_the_movement(settings):
    """Each coefficient by lr, up or down: ||change of delta_W|| = movement lr, to what n atoms at random overlap."""
    model = fourierft.adapt(nested(), FourierConfig(**GENERAL | settings))
    movement = moved_by_the_rule(model)
    assert fourierft.movement(layers(model)) == pytest.approx(movement, rel=1e-12)
    before, lr = fourierft.delta_weights(model), 0.01
    with torch.no_grad():
        for layer in layers(model):
            step = torch.randint(0, 2, layer.fourierft_spectrum.shape).mul(2).sub(1)
            layer.fourierft_spectrum.add_(step, alpha=lr)
    after = fourierft.delta_weights(model)
    moved = math.sqrt(sum(float((after[path] - before[path]).square().sum()) for path in before))
    exact = settings.get("basis") in ("orthogonal", "dct", "identity") or "entries" in settings
    assert moved == pytest.approx(movement * lr, rel=1e-5 if exact else 0.2)


@pytest.mark.parametrize(("width", "depth", "n"), [(24, 1, 50), (24, 6, 500), (96, 3, 50), (96, 3, 20), (96, 3, 32)])
def test_equal_shapes_have_the_scale_of_the_rule(width, depth, n):
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)))
    fourierft.adapt(model, FourierConfig(n, "auto", tuple(map(str, range(depth))), init="zeros"))
    assert scales(model) == pytest.approx([rule((width, width), n, depth)] * depth, rel=1e-12)
    assert model.fourierft_config.scale == scales(model)[0]


def test_other_shapes_have_it_to_a_power_of_two():
    model = fourierft.adapt(Network(), CONFIG)
    smallest = model.fourierft_config.scale
    assert scales(model) == [smallest, 2 * smallest, 4 * smallest]
    for layer in layers(model):
        assert 1 / math.sqrt(2) < layer.scale / rule(layer.matrix_shape, layer.entries.n, 3) < math.sqrt(2)


def test_no_shapes_put_a_scale_more_than_twice_from_the_rule():
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        sides = (8 * 40 ** torch.rand(5, 2, generator=generator)).int().tolist()
        with torch.device("meta"):
            model = nn.Sequential(*(nn.Linear(*pair) for pair in sides))
            fourierft.adapt(model, FourierConfig(20, "auto", tuple("01234"), init="zeros"))
        assert all(0.5 < layer.scale / rule(layer.matrix_shape, 20, 5) < 2 for layer in layers(model))
        assert movement(layers(model)) == pytest.approx(moved_by_the_rule(model), rel=1e-12)


def test_conv1d_and_a_layer_used_twice_count_as_the_matrices_they_are(gpt2):
    model = fourierft.adapt(gpt2(), FourierConfig(50, "auto", ("c_attn",), init="zeros"))
    assert scales(model) == pytest.approx([rule((96, 32), 50, 2)] * 2, rel=1e-12)
    shared = nn.Linear(24, 24)
    model = fourierft.adapt(nn.Sequential(shared, nn.Tanh(), shared), FourierConfig(50, "auto", ("0",), init="zeros"))
    assert model[2].scale == pytest.approx(rule((24, 24), 50, 1), rel=1e-12)


def test_quantised_layers_have_it_too():
    bnb = pytest.importorskip("bitsandbytes").nn
    model = nn.ModuleDict({"small": bnb.Linear4bit(64, 64), "large": bnb.Linear8bitLt(64, 256)})
    fourierft.adapt(model, FourierConfig(20, "auto", ("small", "large"), init="zeros"))
    assert model["large"].scale == 2 * model["small"].scale
    assert movement(layers(model)) == pytest.approx(moved_by_the_rule(model), rel=1e-12)


def test_the_rule_moves_a_model_alike_whatever_its_depth():
    few, many = ([((96, 96), 30)] * depth for depth in (2, 24))
    assert auto_movement(few) == auto_movement(many) == 12
    assert auto_movement([((96, 96), 320)] * 24) == pytest.approx(12 * math.sqrt(0.1), rel=1e-12)


# Files and state dicts ------------------------------------------------------------------------------------------------


def same(a, b):
    a, b = fourierft.delta_weights(a), fourierft.delta_weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[path], b[path]) for path in a)


def contents(folder):
    return json.loads((folder / "adapter_config.json").read_text()), load_file(folder / "adapter_model.safetensors")


@pytest.fixture
def saved(tmp_path):
    model = adapted()
    fourierft.save(model, tmp_path / "a", peft=True)
    return model, tmp_path / "a"


def test_a_file_has_one_plain_number_and_gives_the_same_change_bit_for_bit(saved):
    model, folder = saved
    assert contents(folder)[0]["scaling"] == min(scales(model))
    x, plain, alike = torch.randn(7, 24), fourierft.load(Network(), folder), adapted(seed=3)
    assert not same(alike, model)
    fourierft.load(alike, folder)
    assert scales(plain) == scales(alike) == scales(model)
    assert same(plain, model) and same(alike, model)
    assert torch.equal(plain(x), model(x)) and torch.equal(alike(x), model(x))
    merged = [fourierft.merge(each).large.weight for each in (plain, alike, model)]
    assert torch.equal(merged[0], merged[2]) and torch.equal(merged[1], merged[2])


def test_what_is_loaded_is_saved_as_it_was(saved, tmp_path):
    for each in (Network(), adapted(seed=3)):
        fourierft.save(fourierft.load(each, saved[1]), tmp_path / "b")
        documents, tensors = zip(*map(contents, (saved[1], tmp_path / "b")), strict=True)
        assert documents[0] == documents[1]
        assert all(torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0].keys() | tensors[1].keys())


def test_a_file_that_says_nothing_of_scales_gives_one_to_all_layers_and_the_same_change(saved):
    """As those of PEFT."""
    model, folder = saved
    save_file(contents(folder)[1], folder / "adapter_model.safetensors")
    plain = fourierft.load(Network(), folder)
    assert scales(plain) == [min(scales(model))] * 3 and same(plain, model)


def test_another_rule_of_scales_keeps_the_change(saved, monkeypatch):
    model, folder = saved
    monkeypatch.setattr("fourierft.scale.MOVEMENT", 7.0)
    plain = fourierft.load(Network(), folder)
    assert scales(plain) == pytest.approx([scale * 7 / 12 for scale in scales(model)], rel=1e-12)
    for path, delta in fourierft.delta_weights(plain).items():
        assert relative_error(delta, fourierft.delta_weights(model)[path]) < 1e-6


def test_peft_has_the_same_change(saved):
    model, folder = saved
    theirs = peft.PeftModel.from_pretrained(Network(), folder).base_model.model
    for path, delta in fourierft.delta_weights(model).items():
        assert relative_error(theirs.get_submodule(path).get_delta_weight("default"), delta) < 1e-5
    x = torch.randn(7, 24)
    torch.testing.assert_close(theirs(x), model(x), rtol=1e-5, atol=1e-5)


def test_state_dicts_and_copies_keep_it(saved):
    model, x = saved[0], torch.randn(7, 24)
    others = [adapted(seed=3), fourierft.load(Network(), saved[1])]
    for other in others:
        with torch.no_grad():
            fourierft.fourier_layers(other)["large"].fourierft_spectrum.zero_()
        other.load_state_dict(model.state_dict())
    for other in (*others, copy.deepcopy(model)):
        assert scales(other) == scales(model) and torch.equal(other(x), model(x))


def test_a_model_with_another_scale_is_refused(saved):
    other = adapted(replace(CONFIG, scale=5.0))
    with pytest.raises(FourierError, match=r"does not fit the adapted model: scale is .*, not 5\.0"):
        fourierft.load(other, saved[1])


# The start ------------------------------------------------------------------------------------------------------------


def test_a_large_start_is_told_with_remedies_that_help():
    def network():
        model = Network()
        with torch.no_grad():
            model.large.weight.mul_(0.25)  # now the worst, but at one scale for all the small one is
        return model

    with pytest.warns(UserWarning, match=r"as the weight of large, .* init=\"zeros\" nothing") as caught:
        fourierft.adapt(network(), replace(CONFIG, init="normal"))
    scale = float(str(caught[0].message).split("scale=")[1].split()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fourierft.adapt(network(), CONFIG)
        model = fourierft.adapt(network(), replace(CONFIG, scale=scale, init="normal"))
    shares = [fourierft.delta_weights(model)[k].std() / getattr(model, k).weight.std() for k in CONFIG.targets]
    assert 0.07 < max(shares) < 0.13

"""Sorted rows and columns: the definition, the thin form, the order that gradients give, and its way into files."""

import copy
import math
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import fourierft
from fourierft import Algorithm, Entries, FourierConfig, FourierError, FourierLinear, reference
from fourierft.bases import SORTABLE, basis_matrices

SHAPE, N, SCALE = (24, 36), 24, 30.0  # 4 rows, 6 columns
FORMED = Algorithm(forward="fft", gradient="fft")


def layer_of(basis="dct", shape=SHAPE, dtype=torch.float32, trains=False):
    base = nn.Linear(*shape[::-1], dtype=dtype).requires_grad_(trains)
    layer = FourierLinear(base, Entries(N, basis=basis, kind="sorted"), SCALE)
    layer.reset_spectrum("normal")
    rows, columns = layer.entries.listed(shape)
    layer.set_order(torch.cat([torch.randperm(shape[0])[:rows], torch.randperm(shape[1])[:columns]]))
    return layer


def definition(layer):
    """delta_W by the equation in sorting.py, in float64."""
    shape, entries = layer.matrix_shape, layer.entries
    (a, b), s = entries.sides(shape), SCALE / math.sqrt(2 * shape[0] * shape[1])
    rows, columns = layer.fourierft_order.long().split(entries.listed(shape))
    left, right = basis_matrices(entries.basis, shape, 0) or map(torch.eye, (a, b))
    core = layer.fourierft_spectrum.detach().double().view(a, b)
    dense = left[:, :a].double() @ core @ right[:, :b].double().t()
    return reference.in_order(s * dense, rows, columns, shape)


@pytest.mark.parametrize("basis", SORTABLE)
@pytest.mark.parametrize("shape", [SHAPE, SHAPE[::-1]])
@pytest.mark.parametrize("trains", [False, True])
def test_both_forms_are_those_of_the_definition(basis, shape, trains):
    layer = layer_of(basis, shape, torch.float64, trains)
    inputs = [torch.randn(3, 5, shape[1], dtype=torch.float64, requires_grad=True), layer.fourierft_spectrum]
    inputs += [layer.weight] if trains else []
    delta = definition(layer)
    torch.testing.assert_close(layer.delta_weight(), delta, rtol=1e-12, atol=1e-12)
    g = torch.randn(3, 5, shape[0], dtype=torch.float64)
    full, wanted = g.flatten(0, 1).t() @ inputs[0].detach().flatten(0, 1), []
    for k in range(N):  # the gradient of a coefficient is the product of G with what it adds
        atom = copy.deepcopy(layer)
        atom.fourierft_spectrum.data = torch.eye(N, dtype=torch.float64)[k]
        wanted.append((definition(atom) * full).sum())
    expected = [inputs[0].detach() @ (layer.weight + delta).t() + layer.bias, g @ (layer.weight + delta)]
    expected += [torch.stack(wanted)] + ([full] if trains else [])
    for algorithm in (Algorithm(), Algorithm(forward="grid", gradient="grid"), FORMED, Algorithm(memory="keep")):
        layer.algorithm = algorithm
        y = layer(inputs[0])
        for one, other in zip((y, *torch.autograd.grad(y, inputs, g)), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_training_step_keeps_a_projection_and_not_the_input():
    layer, saved = layer_of(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        layer(torch.randn(1000, 36, requires_grad=True))
    assert [tuple(tensor.shape) for tensor in saved if len(tensor) == 1000] == [(1000, 6)]


def test_low_precision_rounds_the_output_alone():
    layer = layer_of(dtype=torch.bfloat16)
    x = torch.randn(200, 36, dtype=torch.bfloat16)
    exact = x.double() @ (layer.weight.double() + definition(layer)).t() + layer.bias.double()
    assert ((layer(x).double() - exact).abs() <= exact.abs() * 2**-8 + 1e-5).all()


def test_the_rank_and_an_exact_lora(tmp_path):
    layer = layer_of(dtype=torch.float64)
    assert torch.linalg.matrix_rank(layer.delta_weight()) == 4
    model = trained()
    errors = fourierft.to_lora(model, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert set(errors.values()) == {0.0} and not any("order" in key for key in tensors)
    for path, layer in fourierft.fourier_layers(model).items():
        b, a = (tensors[f"base_model.model.{path}.lora_{side}.weight"] for side in "BA")
        torch.testing.assert_close(b @ a, layer.delta_weight(), rtol=1e-4, atol=1e-5)


CONFIG = FourierConfig(N, 1.5, ("query", "value"), ("classifier",), entries="sorted", basis="dct")


class Network(nn.Module):
    """The layer `query` gets a gradient of one singular pair, `left` times `right`, and some noise."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.query, self.value, self.classifier = nn.Linear(36, 24), nn.Linear(24, 24), nn.Linear(24, 2)
        self.left, self.right = torch.randn(24), torch.randn(36)

    def forward(self, x):
        return self.classifier(torch.tanh(self.value(self.query(x))))


def one_pair(model, noise):
    generator = torch.Generator().manual_seed(int(noise * 1000))
    layer = model.query
    y = layer(model.right[None]) @ model.left + noise * layer(torch.randn(36, generator=generator)).sum()
    return y.sum() + model(torch.randn(4, 36, generator=generator)).square().sum() * 0.01


def trained(config=CONFIG):
    model = fourierft.adapt(Network(), config)
    return fourierft.sort(model, one_pair, [0.001, 0.002])


def test_a_leading_pair_becomes_a_ramp():
    model = trained()
    rows, columns = model.query.fourierft_order.long().split([24, 36])
    for values in (model.left[rows], model.right[columns]):
        steps = values.diff()
        assert (steps > -0.05).all() or (steps < 0.05).all()
    gradient = torch.outer(model.left, model.right)[rows][:, columns]
    left, right = (matrix[:, :k] for matrix, k in zip(basis_matrices("dct", SHAPE, 0), (4, 6), strict=True))
    held = (left.t() @ gradient @ right).norm() / gradient.norm()
    unsorted = (left.t() @ torch.outer(model.left, model.right) @ right).norm() / gradient.norm()
    assert held > 0.9 > 3 * unsorted


def test_of_the_identity_the_largest_rows_and_columns_are_listed():
    model = trained(FourierConfig(N, 1.5, ("query",), entries="sorted", basis="identity"))
    rows, columns = model.query.fourierft_order.long().split([4, 6])
    assert set(rows.tolist()) == set(model.left.abs().topk(4).indices.tolist())
    assert set(columns.tolist()) == set(model.right.abs().topk(6).indices.tolist())
    changed = model.query.delta_weight() != 0
    assert changed[rows][:, columns].all() and changed.sum() == N


def test_sorting_sees_the_frozen_weights_and_leaves_the_rest_as_it_was():
    model = fourierft.adapt(Network(), CONFIG)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if "order" not in name}
    random = torch.get_rng_state()
    assert fourierft.sort(model, one_pair, [0.001, 0.002]) is model
    assert torch.equal(torch.get_rng_state(), random)
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    assert [name for name, p in model.named_parameters() if p.requires_grad and "classifier" not in name] == [
        "query.fourierft_spectrum",
        "value.fourierft_spectrum",
    ]
    assert all(p.grad is None for p in model.parameters())
    other = fourierft.adapt(Network(), CONFIG)
    with torch.no_grad():
        other.value.fourierft_spectrum.mul_(100)
    fourierft.sort(other, one_pair, [0.001, 0.002])
    assert torch.equal(other.query.fourierft_order, model.query.fourierft_order)
    assert not torch.equal(other(torch.ones(2, 36)), model(torch.ones(2, 36)))


def test_a_conv1d_is_sorted_by_its_transposed_gradient(gpt2, tokens):
    config = FourierConfig(36, 5.0, ("c_fc",), entries="sorted", basis="dct")

    def loss(model, batch):
        return model(batch, labels=batch).loss

    model = fourierft.sort(fourierft.adapt(gpt2(), config), loss, [tokens])
    layer = model.transformer.h[0].mlp.c_fc
    assert sorted(layer.fourierft_order[:128].tolist()) == list(range(128))
    unmerged = model(tokens).logits
    torch.testing.assert_close(fourierft.merge(model)(tokens).logits, unmerged, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(gpt2()(tokens).logits, unmerged, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("basis", "numbers"), [("dct", 24 + 36 + 24 + 24), ("identity", 4 + 6 + 4 + 6)])
def test_orders_are_saved_counted_and_loaded(tmp_path, basis, numbers):
    config = FourierConfig(N, 1.5, ("query", "value"), ("classifier",), entries="sorted", basis=basis)
    model, x = trained(config), torch.randn(5, 36)
    count = fourierft.count(model)
    assert (count.adapter, count.order_bytes, count.adapter_bytes) == (2 * N, 2 * numbers, 8 * N + 2 * numbers)
    fourierft.save(model, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    stored = [tensor for key, tensor in tensors.items() if key.endswith("fourierft_order")]
    assert sum(map(len, stored)) == numbers and {tensor.dtype for tensor in stored} == {torch.int16}
    with pytest.raises(FourierError, match=r"PEFT cannot express .*entries='sorted'"):
        fourierft.save(model, tmp_path / "peft", peft=True)
    for other in (Network(), fourierft.adapt(Network(), config)):
        assert torch.equal(fourierft.load(other, tmp_path)(x), model(x))
    plain = fourierft.adapt(Network(), config)
    plain.load_state_dict(model.state_dict())
    otherwise = fourierft.sort(trained(config), one_pair, [3.0])
    assert not torch.equal(otherwise.query.fourierft_order, model.query.fourierft_order)
    otherwise.load_state_dict(model.state_dict())
    copied, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert all(torch.equal(other(x), model(x)) for other in (plain, otherwise, copied, pickled))
    assert torch.equal(model.double()(x.double()).float(), plain.double()(x.double()).float())


def test_a_light_checkpoint_has_the_order(roberta, tokens, tmp_path):
    config = FourierConfig(24, 1.5, ("query",), ("classifier",), entries="sorted", basis="dct")

    def loss(model, batch):
        return model(batch).logits.square().sum()

    model = fourierft.light_checkpoints(fourierft.sort(fourierft.adapt(roberta(), config), loss, [tokens]))
    model.save_pretrained(tmp_path)
    again = fourierft.adapt(roberta(), config)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    assert torch.equal(again(tokens).logits, model(tokens).logits)


def repeat_a_row(tensors, key):
    tensors[key][0] = tensors[key][1]


def list_one_outside(tensors, key):
    tensors[key][-1] = 36


def leave_it_out(tensors, key):
    del tensors[key]


def cut_it_short(tensors, key):
    tensors[key] = tensors[key][:-1].clone()


def make_it_float(tensors, key):
    tensors[key] = tensors[key].float()


@pytest.mark.parametrize("damage", [repeat_a_row, list_one_outside, leave_it_out, cut_it_short, make_it_float])
def test_a_file_whose_order_is_none_is_refused(tmp_path, damage):
    fourierft.save(trained(), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    damage(tensors, "base_model.model.query.fourierft_order")
    save_file(tensors, file)
    model = Network()
    with pytest.raises(FourierError, match=r"query\.fourierft_order does not list 24 rows and 36 columns"):
        fourierft.load(model, tmp_path)
    assert not fourierft.fourier_layers(model)


def test_what_is_not_sorted_yet_cannot_run_or_be_saved(tmp_path):
    model = fourierft.adapt(Network(), CONFIG)
    for call in (lambda: model(torch.ones(2, 36)), lambda: fourierft.save(model, tmp_path / "a")):
        with pytest.raises(FourierError, match=r"not sorted yet: call fourierft\.sort"):
            call()
    assert not (tmp_path / "a").exists()


def no_gradient(model, batch):
    return model.classifier(torch.ones(1, 24)).sum()


def infinite(model, batch):
    return model(torch.ones(1, 36)).sum() * math.inf


@pytest.mark.parametrize(
    ("config", "loss", "words"),
    [
        (FourierConfig(N, 1.5, ("query",)), one_pair, "there is nothing to sort"),
        (CONFIG, no_gradient, "no gradient reached the weight of query"),
        (CONFIG, infinite, "the gradient of query is not finite"),
    ],
)
def test_a_model_that_cannot_be_sorted_stays_as_it_is(config, loss, words):
    model = fourierft.adapt(Network(), config)
    with pytest.raises(FourierError, match=words):
        fourierft.sort(model, loss, [0.001])
    assert not any(module.weight.requires_grad for module in (model.query, model.value))
    assert not hasattr(model.query, "fourierft_order") or model.query.fourierft_order.eq(-1).all()


def test_a_merged_model_is_refused():
    model = fourierft.merge(trained())
    with pytest.raises(FourierError, match="query is merged, without a gradient: unmerge"):
        fourierft.sort(model, one_pair, [0.001])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"basis": "fourier"}, "basis='fourier' is not possible: give one of dct, haar, identity"),
        ({"basis": "random"}, "basis='random' is not possible"),
        ({"basis": "dct", "band": (1, 2)}, "band="),
    ],
)
def test_bases_without_an_order_are_refused(settings, words):
    with pytest.raises(FourierError, match=words):
        FourierConfig(N, SCALE, ("query",), entries="sorted", **settings)


def test_parts_and_an_n_without_factors_are_refused_before_anything_changes(gpt2):
    for targets, n, words in ((("c_attn:q,v",), N, "not for parts"), (("c_fc",), 23, r"n=23 .*: n=\d+ does")):
        model = gpt2()
        with pytest.raises(FourierError, match=words):
            fourierft.adapt(model, FourierConfig(n, SCALE, targets, entries="sorted", basis="dct"))
        assert all(parameter.requires_grad for parameter in model.parameters())

"""What is attached to a layer stays with the adapted one, or is refused; and no weight is read past its forward."""

import pytest
import torch
from accelerate import cpu_offload
from accelerate.hooks import ModelHook, add_hook_to_module, attach_execution_device_hook, remove_hook_from_module
from torch import nn
from torch.nn.utils import prune

import fourierft
from fourierft import FourierConfig, FourierError

pytestmark = pytest.mark.filterwarnings("ignore:delta_W starts out", "ignore:The PyTorch API of nested tensors")

CONFIG = FourierConfig(n=20, scale=5.0, targets=("0", "2"))


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(24, 36), nn.Tanh(), nn.Linear(36, 24))


def adapted(model, config=CONFIG):
    torch.manual_seed(2)
    return fourierft.adapt(model, config)


# Carried over or refused ---------------------------------------------------------------------------------------------


def test_hooks_are_carried_over_and_their_handles_remove_them():
    model, x, seen = network(), torch.randn(5, 24), []
    layer = model[0]
    handles = [
        layer.register_forward_pre_hook(lambda layer, args: (2 * args[0],)),
        layer.register_forward_hook(lambda layer, args, kwargs, y: y + 1, with_kwargs=True),
        layer.register_full_backward_hook(lambda layer, inputs, outputs: seen.append(outputs[0].shape)),
    ]
    y = adapted(model)[0](x.clone().requires_grad_())
    assert torch.equal(y, adapted(network())[0](2 * x) + 1)
    y.sum().backward()
    assert seen == [y.shape]
    for handle in handles:
        handle.remove()
    assert torch.equal(model[0](x), adapted(network())[0](x))


def test_marks_and_mode_are_carried_over():
    model = network()
    model[0].eval().mark, model[0].scale = "theirs", "theirs"
    adapted(model)
    assert (model[0].training, model[2].training, model[0].mark, model[0].scale) == (False, True, "theirs", 5.0)


class Doubled(ModelHook):
    def post_forward(self, module, output):
        return 2 * output


def test_hooks_of_accelerate_are_carried_over():
    model, plain, x = network(), adapted(network()), torch.randn(5, 24)
    attach_execution_device_hook(model, "cpu")
    add_hook_to_module(model[2], Doubled(), append=True)
    y = adapted(model)(x)
    assert torch.equal(y, 2 * plain(x))
    y.sum().backward()
    assert all(layer.fourierft_spectrum.grad.any() for layer in fourierft.fourier_layers(model).values())
    remove_hook_from_module(model, recurse=True)
    assert torch.equal(model(x), plain(x))
    remove_hook_from_module(plain := network(), recurse=True)  # leaves a forward on the instance
    assert torch.equal(adapted(plain)(x), model(x))


def test_an_adapted_model_is_offloaded_but_no_offloaded_one_adapted():
    x = torch.randn(5, 24)
    model = cpu_offload(adapted(network()), torch.device("cpu"))
    assert model[0].fourierft_spectrum.is_meta
    assert torch.equal(model(x), adapted(network())(x))
    with pytest.raises(FourierError, match=r"^0: .*offloaded by accelerate: adapt the model first"):
        adapted(cpu_offload(network(), torch.device("cpu")))


def replaced(layer):
    layer.forward = lambda x: 2 * nn.Linear.forward(layer, x)


def hooked(layer):
    layer.register_load_state_dict_post_hook(lambda layer, keys: None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nn.utils.weight_norm, r"weight_g, weight_v.*remove_weight_norm"),
        (nn.utils.spectral_norm, "weight_orig, weight_u, weight_v"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "weight_mask, weight_orig.*prune.remove"),
        (nn.utils.parametrizations.orthogonal, "matches 0, a ParametrizedLinear"),
        (replaced, "its forward was replaced on the instance: adapt the model first"),
        (hooked, "hooks on its state dict: adapt the model first"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_what_would_be_lost_is_refused_and_nothing_changed(change, message):
    model, x = network(), torch.randn(5, 24)
    change(model[0])
    model.eval()
    before = model(x)
    with pytest.raises(FourierError, match=message):
        adapted(model)
    assert torch.equal(model(x), before) and model[2].weight.requires_grad


@pytest.mark.parametrize("config", [CONFIG, FourierConfig(20, 5.0, ("0", "2"), basis="dct")])
def test_coefficients_assigned_into_a_model_on_meta_bring_the_tables_with_them(config):
    model, x = adapted(network(), config), torch.randn(5, 24)
    with torch.device("meta"):
        empty = fourierft.adapt(network(), config)
    empty.load_state_dict(model.state_dict(), assign=True)
    assert torch.equal(empty(x), model(x))


# Weights read past the forward ---------------------------------------------------------------------------------------


def encoder():
    torch.manual_seed(1)
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()


@pytest.mark.parametrize("lengths", [None, [5, 3, 4]])
def test_torch_takes_its_fast_path_only_while_merged(lengths, monkeypatch):
    """Given lengths, nn.TransformerEncoder also nests the sequences, and leaves zeros behind their ends."""
    calls, fast = [], torch._transformer_encoder_layer_fwd
    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", lambda *args: calls.append(1) or fast(*args))
    x, padding = torch.randn(3, 5, 16), lengths and torch.arange(5) >= torch.tensor(lengths)[:, None]
    targets = ("linear1", "linear2")

    @torch.no_grad()
    def run(model):
        calls.clear()
        return model(x, src_key_padding_mask=padding), len(calls)

    plain, zeros = run(encoder()), run(fourierft.adapt(encoder(), FourierConfig(20, 20.0, targets, init="zeros")))
    assert (plain[1], zeros[1]) == (2, 0)
    torch.testing.assert_close(zeros[0], plain[0])

    model = adapted(encoder(), FourierConfig(20, 20.0, targets))
    changed, merged, unmerged = run(model), run(fourierft.merge(model)), run(fourierft.unmerge(model))
    assert (changed[1], merged[1], unmerged[1]) == (0, 2, 0)
    torch.testing.assert_close(merged[0], changed[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(unmerged[0], changed[0])
    assert (changed[0] - plain[0]).abs().max() > 0.1


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_sequences_are_computed_as_their_rows(layout):
    layer, sequences = adapted(network())[0], [torch.randn(5, 24), torch.randn(3, 24)]
    y = layer(torch.nested.as_nested_tensor(sequences, layout=layout))
    assert y.is_nested and y.layout == layout
    for ours, x in zip(y.unbind(), sequences, strict=True):
        torch.testing.assert_close(ours, layer(x))
    sum(part.sum() for part in y.unbind()).backward()
    assert layer.fourierft_spectrum.grad.any()


def test_jagged_sequences_are_added_to_their_input_and_attend_with_those_of_a_plain_layer():
    def of(*rows):
        return torch.nested.nested_tensor(list(rows), layout=torch.jagged, requires_grad=True)

    layer, plain = fourierft.FourierLinear(nn.Linear(24, 24), fourierft.Entries(20), 5.0), nn.Linear(24, 24)
    layer.reset_spectrum("normal")
    rows = torch.randn(5, 24), torch.randn(3, 24)

    def block(x):
        q, k, v = (each(x).unflatten(-1, (2, 12)).transpose(1, 2) for each in (layer, plain, layer))
        return x + nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    together, alone = of(*rows), [of(row) for row in rows]
    y = block(together)
    assert y.shape == together.shape
    y.values().sum().backward()
    for part, gradient, x in zip(y.unbind(), together.grad.unbind(), alone, strict=True):
        ours = block(x)
        ours.values().sum().backward()
        torch.testing.assert_close(part, ours.values())
        torch.testing.assert_close(gradient, x.grad.values())
    halves = torch.nested.narrow(torch.randn(2, 6, 24), 1, torch.tensor([0, 2]), torch.tensor([3, 4]), torch.jagged)
    for ours, x in zip((halves + layer(halves)).unbind(), halves.unbind(), strict=True):
        torch.testing.assert_close(ours, x + layer(x))


class Owner(nn.Module):
    """Takes the weights of its layers in every way there is."""

    def __init__(self):
        super().__init__()
        self.taken, self.renamed, self.called = nn.Linear(9, 9), nn.Linear(9, 9), nn.Linear(9, 9)
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.orthogonal_(self.called.weight)

    def forward(self, x):
        self.called.weight.clamp_(-9, 9)
        if isinstance(self.called.weight, torch.Tensor):
            x = self.called(x.to(self.called.weight.dtype))
        x = nn.functional.linear(x, self.taken.weight.t())
        renamed = self.renamed
        return nn.functional.linear(x, renamed.weight)


def test_a_weight_that_its_owner_takes_is_refused_by_name():
    model = nn.Sequential(Owner())
    with pytest.raises(FourierError, match=r"0\.taken cannot be adapted: Owner\.forward reads its weight"):
        fourierft.adapt(model, FourierConfig(20, 5.0, ("called", "taken")))
    assert not fourierft.fourier_layers(model) and model[0].called.weight.requires_grad
    fourierft.adapt(model, FourierConfig(20, 5.0, ("called",)))


def test_projections_of_mamba_are_adapted_if_called_and_refused_if_taken():
    from transformers import MambaConfig, MambaModel

    model = MambaModel(MambaConfig(vocab_size=20, hidden_size=16, state_size=4, num_hidden_layers=1)).eval()
    for name in ("x_proj", "dt_proj", "out_proj"):
        with pytest.raises(FourierError, match=rf"mixer\.{name} cannot be adapted: MambaMixer\.\w+ reads"):
            fourierft.adapt(model, FourierConfig(20, 5.0, (name,)))
    tokens = torch.arange(5)[None]
    before = model(tokens).last_hidden_state
    after = fourierft.adapt(model, FourierConfig(20, 50.0, ("in_proj",)))(tokens).last_hidden_state
    assert (after - before).abs().max() > 0.1


def test_coefficients_without_a_gradient_are_told():
    model = nn.Sequential(Owner())
    fourierft.adapt(model, FourierConfig(20, 5.0, ("called", "renamed")))
    model(torch.randn(5, 9)).sum().backward()
    with pytest.warns(UserWarning, match=r"no gradient reached the coefficients of 0\.renamed: they do not train"):
        assert fourierft.check_gradients(model) == ["0.renamed"]
    model[0].renamed.fourierft_spectrum.requires_grad_(False)
    assert fourierft.check_gradients(model) == []

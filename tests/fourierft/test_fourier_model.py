"""Adapting a model, merging it, counting it: the exact integers of the paper, and an error for each wrong turn."""

import warnings

import pytest
import torch
from comparing import default_dtype
from torch import nn

import fourierft
from fourierft import FourierConfig, FourierError, FourierLinear

CONFIG = FourierConfig(n=20, scale=10.0, targets=("query", "value"), head=("classifier",))


def run(model, x):
    return model["classifier"](model["attention"]["value"](torch.tanh(model["attention"]["query"](x))))


def state(model):
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def equal_states(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_adapt_replaces_the_targets_and_freezes_all_but_coefficients_and_head(block):
    model = block()
    keys = set(model.state_dict())
    assert fourierft.adapt(model, CONFIG) is model
    assert list(fourierft.fourier_layers(model)) == ["attention.query", "attention.value"]
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    spectra = {"attention.query.fourierft_spectrum", "attention.value.fourierft_spectrum"}
    assert trainable == spectra | {"classifier.weight", "classifier.bias"}
    assert set(model.state_dict()) == keys | spectra
    assert model.fourierft_config == CONFIG


def test_the_global_seed_decides_the_coefficients_and_the_entry_seed_the_entries(block):
    spectra = []
    for seed in (5, 5, 6):
        model = block()
        torch.manual_seed(seed)
        fourierft.adapt(model, CONFIG)
        spectra.append(model["attention"]["query"].fourierft_spectrum.detach())
    assert torch.equal(spectra[0], spectra[1]) and not torch.equal(spectra[0], spectra[2])
    assert 0.5 < float(spectra[0].std()) < 1.5


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_the_coefficients_do_not_depend_on_the_default_dtype(block, default):
    models = []
    for dtype in (torch.float32, default):
        models.append(block())
        torch.manual_seed(5)
        with default_dtype(dtype):
            fourierft.adapt(models[-1], CONFIG)
    assert equal_states(*map(state, models))


def test_zero_init_leaves_the_output_unchanged(block):
    model, x = block(), torch.randn(5, 24)
    before = run(model, x)
    fourierft.adapt(model, FourierConfig(20, 10.0, ("query", "value"), init="zeros"))
    assert torch.equal(run(model, x), before)


def test_a_regular_expression_must_match_the_whole_path(block):
    model = fourierft.adapt(block(), FourierConfig(20, 10.0, r"attention\.(query|val.*)"))
    assert list(fourierft.fourier_layers(model)) == ["attention.query", "attention.value"]
    with pytest.raises(FourierError, match=r"matches no module's whole path.*classifier, query, value"):
        fourierft.adapt(block(), FourierConfig(20, 10.0, "query"))


def test_a_name_means_a_whole_part_of_the_path():
    model = nn.ModuleDict({"query": nn.Linear(9, 9), "subquery": nn.Linear(9, 9)})
    fourierft.adapt(model, FourierConfig(20, 1.0, ("query",)))
    assert list(fourierft.fourier_layers(model)) == ["query"]


def test_what_is_inside_a_head_is_not_adapted(block):
    model = fourierft.adapt(block(), FourierConfig(20, 10.0, r"attention\..*", head=("query",)))
    assert list(fourierft.fourier_layers(model)) == ["attention.value"]


def test_a_layer_used_twice_is_adapted_once_and_in_both_places():
    shared = nn.Linear(9, 9)
    model = fourierft.adapt(nn.Sequential(shared, nn.ReLU(), shared), FourierConfig(20, 1.0, ("0",)))
    assert model[0] is model[2] and isinstance(model[0], FourierLinear)
    assert fourierft.count(model).adapter == 20


def test_entries_are_shared_or_drawn_by_module():
    def plans(shared):
        model = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9))
        fourierft.adapt(model, FourierConfig(20, 1.0, ("0", "1"), entry_seed=7, shared_entries=shared))
        return [layer.entries.seed for layer in model]

    assert plans(True) == [7, 7]
    assert plans(False) == [7, 8]


def test_band_reaches_the_layer():
    model = fourierft.adapt(nn.Sequential(nn.Linear(32, 32)), FourierConfig(9, 1.0, ("0",), band=(0, 0.5)))
    spectrum = torch.fft.fft2(fourierft.delta_weights(model)["0"]).abs()
    near = torch.hypot(*torch.meshgrid(*[torch.fft.fftfreq(32, 1 / 32)] * 2, indexing="ij")) < 4
    assert spectrum[near].norm() > 0.999 * spectrum.norm()


# Counting -----------------------------------------------------------------------------------------------------------


def test_count_gives_the_papers_integers_of_roberta_base():
    from transformers import RobertaConfig, RobertaForSequenceClassification

    with torch.device("meta"):
        model = RobertaForSequenceClassification(
            RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, num_labels=2)
        )
        fourierft.adapt(model, FourierConfig(1000, 110.0, ("query", "value"), head=("classifier",)))
    count = fourierft.count(model)
    assert (count.adapter, count.head, count.adapter_bytes) == (24_000, 592_130, 96_000)
    # 124,055,040 of the encoder without pooler, the head, and the adapter.
    assert count.total == 124_055_040 + 592_130 + 24_000


def test_count_counts_a_plain_model_too(block):
    model = block().requires_grad_(False)
    model["classifier"].requires_grad_(True)
    assert fourierft.count(model) == fourierft.Count(adapter=0, head=111, total=24 * 25 + 36 * 24 + 111)


# Merging ------------------------------------------------------------------------------------------------------------


def test_delta_weights_are_the_change_of_the_merge(block):
    model = fourierft.adapt(block(), CONFIG)
    before, deltas = state(model), fourierft.delta_weights(model)
    fourierft.merge(model)
    for path, delta in deltas.items():
        assert delta.dtype == torch.float32 and not delta.requires_grad
        torch.testing.assert_close(model.get_submodule(path).weight, before[f"{path}.weight"] + delta)


def test_delta_weights_of_conv1d_have_the_orientation_of_linear(gpt2):
    model = fourierft.adapt(gpt2(), FourierConfig(20, 1.0, ("c_attn",)))
    assert {tuple(delta.shape) for delta in fourierft.delta_weights(model).values()} == {(96, 32)}


@pytest.mark.parametrize("name", ["roberta", "gpt2"])
def test_merged_equals_unmerged_and_unmerge_restores_bit_for_bit(name, request, tokens):
    targets = {"roberta": ("query", "value"), "gpt2": ("c_attn",)}[name]
    model = fourierft.adapt(request.getfixturevalue(name)(), FourierConfig(50, 15.0, targets))
    before, logits = state(model), model(tokens).logits
    fourierft.merge(fourierft.merge(model))
    assert all(layer.merged for layer in fourierft.fourier_layers(model).values())
    assert set(model.state_dict()) == set(before)
    torch.testing.assert_close(model(tokens).logits, logits, rtol=1e-5, atol=1e-5)
    assert not equal_states(state(model), before)
    fourierft.unmerge(model)
    assert equal_states(state(model), before)
    assert torch.equal(model(tokens).logits, logits)


def test_merging_does_not_change_a_module_that_shares_the_weight():
    model = nn.ModuleDict({"embedding": nn.Embedding(12, 9), "output": nn.Linear(9, 12, bias=False)})
    model["output"].weight = model["embedding"].weight
    fourierft.adapt(model, FourierConfig(20, 1.0, ("output",)))
    before = model["embedding"].weight.clone()
    fourierft.merge(model)
    assert torch.equal(model["embedding"].weight, before)


def test_a_tied_head_stays_merged_where_its_weight_is_tied_again(gpt2, tokens):
    model = fourierft.adapt(gpt2(), FourierConfig(50, 15.0, ("lm_head",)))
    embedding, logits, count = model.transformer.wte.weight, model(tokens).logits, fourierft.count(model)
    fourierft.merge(model)
    model.tie_weights()
    assert model.lm_head.weight is not embedding
    torch.testing.assert_close(model(tokens).logits, logits, rtol=1e-5, atol=1e-5)
    fourierft.unmerge(model)
    assert model.lm_head.weight is embedding and fourierft.count(model) == count
    assert torch.equal(model(tokens).logits, logits)


def test_a_merge_that_is_not_finite_is_refused_with_nothing_changed(block):
    model = fourierft.adapt(block(), CONFIG)
    with torch.no_grad():
        model["attention"]["value"].fourierft_spectrum[3] = torch.nan  # of the last layer
    before = state(model)
    before.pop("attention.value.fourierft_spectrum")
    with pytest.raises(FourierError, match=r"attention\.value: .*NaN"):
        fourierft.merge(model)
    assert not any(layer.merged for layer in fourierft.fourier_layers(model).values())
    after = state(model)
    after.pop("attention.value.fourierft_spectrum")
    assert equal_states(after, before)


def test_merging_into_low_precision_warns_once_with_the_loss_and_float32_does_not(block):
    model = fourierft.adapt(block(torch.bfloat16), CONFIG)
    exact = fourierft.delta_weights(model)["attention.value"]
    before = model["attention"]["value"].weight.float()
    with pytest.warns(UserWarning, match=r"torch.bfloat16 rounds away .* % of it") as caught:
        fourierft.merge(model)
    assert len(caught) == 1
    kept = model["attention"]["value"].weight.float() - before
    lost = 100 * float((kept - exact).norm() / exact.norm())
    if "attention.value" in str(caught[0].message):
        assert f"{lost:.1f} %" in str(caught[0].message)
    assert lost > 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fourierft.merge(fourierft.adapt(block(), CONFIG))


# State dicts --------------------------------------------------------------------------------------------------------


def two(block, dtype=torch.float32):
    """Two models of one base with coefficients of their own."""
    models = [fourierft.adapt(block(dtype), CONFIG) for _ in range(2)]
    for layer in fourierft.fourier_layers(models[1]).values():
        layer.reset_spectrum("normal")
    return models


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("given_merged", [False, True])
@pytest.mark.parametrize("own_merged", [False, True])
@pytest.mark.filterwarnings("ignore:merging into torch.bfloat16")
def test_a_state_dict_counts_delta_once_merged_or_not(block, dtype, given_merged, own_merged, assign):
    (given, own), x = two(block, dtype), torch.randn(5, 24).to(dtype)
    frozen = state(given)
    y = [run(given, x), run(fourierft.merge(given), x)][own_merged]
    assert not torch.equal(run(own, x), y)
    if own_merged:
        fourierft.merge(own)
    if not given_merged:
        fourierft.unmerge(given)
    own.load_state_dict(state(given), strict=True, assign=assign)
    assert all(layer.merged == own_merged for layer in fourierft.fourier_layers(own).values())
    assert torch.equal(run(own, x), y)
    assert equal_states(state(fourierft.unmerge(own)), frozen)


def test_what_trained_loads_into_a_merged_model(block):
    (model, other), x = two(block), torch.randn(5, 24)
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    fourierft.merge(other).load_state_dict(trained, strict=False)
    assert torch.equal(run(other, x), run(fourierft.merge(model), x))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_merged_state_over_another_base_is_refused(block, strict, device):
    given, other = two(block)
    fourierft.merge(given)
    nn.init.orthogonal_(other["attention"]["query"].weight)
    with pytest.raises(FourierError, match=r"attention\.query\.weight is of a merged model.*after fourierft\.unmerge"):
        other.to(device).load_state_dict(given.state_dict(), strict=strict, assign=True)
    plain = block()
    nn.init.zeros_(plain["attention"]["query"].weight)
    plain.load_state_dict(given.state_dict(), strict=False)
    x = torch.randn(5, 24)
    assert torch.equal(run(plain, x), run(given, x))


# Wrong turns --------------------------------------------------------------------------------------------------------


def test_a_name_without_a_match_is_refused_with_the_nearest(block):
    model = block()
    before = state(model)
    with pytest.raises(FourierError, match=r"'qeury' matches no module.*query.*linear layers end in.*value"):
        fourierft.adapt(model, FourierConfig(20, 10.0, ("qeury",)))
    with pytest.raises(FourierError, match=r"head: 'clasifier' matches no module.*classifier"):
        fourierft.adapt(model, FourierConfig(20, 10.0, ("query",), head=("clasifier",)))
    assert equal_states(state(model), before) and all(p.requires_grad for p in model.parameters())


def test_a_match_that_is_no_linear_layer_is_refused_by_type(block):
    with pytest.raises(FourierError, match="matches attention, a ModuleDict"):
        fourierft.adapt(block(), FourierConfig(20, 10.0, ("attention",)))


def test_n_out_of_range_names_the_module_and_changes_nothing(block):
    model = block()
    with pytest.raises(FourierError, match=r"attention\.query: n=600 .*\(24, 24\).*n <= 576"):
        fourierft.adapt(model, FourierConfig(600, 10.0, ("query", "value")))
    assert not fourierft.fourier_layers(model) and all(p.requires_grad for p in model.parameters())


def test_an_adapted_model_is_not_adapted_again(block):
    model = fourierft.adapt(block(), CONFIG)
    with pytest.raises(FourierError, match="adapted already"):
        fourierft.adapt(model, CONFIG)


@pytest.mark.parametrize("function", [fourierft.merge, fourierft.unmerge, fourierft.delta_weights])
def test_a_plain_model_is_refused(function, block):
    with pytest.raises(FourierError, match=r"no FourierFT layer.*fourierft\.adapt"):
        function(block())


def test_a_large_start_warns_with_the_worst_layer_and_a_scale_that_fits(block):
    with pytest.warns(UserWarning, match="delta_W starts out .* of attention.query") as caught:
        fourierft.adapt(block(), FourierConfig(20, 100.0, ("query", "value")))
    scale = float(str(caught[0].message).split("scale=")[1].split()[0])
    model = block()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fourierft.adapt(model, FourierConfig(20, scale, ("query", "value")))
        fourierft.adapt(block(), FourierConfig(20, 100.0, ("query", "value"), init="zeros"))
    ratio = fourierft.delta_weights(model)["attention.query"].std() / model["attention"]["query"].weight.std()
    assert 0.05 < ratio < 0.2

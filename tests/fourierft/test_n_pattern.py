"""n by module: n_pattern means what PEFT's n_frequency_pattern means, in every function and in files both ways."""

import copy
import dataclasses
import json

import peft
import pytest
import torch
from torch import nn

import fourierft
from fourierft import FourierConfig, FourierError

PATTERN = {"layer.0.attention.self.query": 30, r"1\.attention\.self\.(query|key)": 70}
TARGETS = ("query", "key", "value")
CONFIG = FourierConfig(50, 15.0, TARGETS, ("classifier",), n_pattern=PATTERN, task_type="SEQ_CLS")
NUMBERS = {("0", "query"): 30, ("0", "key"): 50, ("0", "value"): 50}
NUMBERS |= {("1", "query"): 70, ("1", "key"): 70, ("1", "value"): 50}
DOCUMENT = "adapter_config.json"


def numbers(model):
    """n of each layer of a RoBERTa, by its number and its name; of this library or of PEFT."""
    spectra = (path for path in model.state_dict() if "fourierft_spectrum" in path)
    found = {tuple(path.split("layer.")[1].split(".")[::3][:2]): model.state_dict()[path].shape for path in spectra}
    return {key: shape.numel() for key, shape in found.items()}


def peft_config(**settings):
    common = dict(n_frequency=50, scaling=15.0, random_loc_seed=2024, target_modules=list(TARGETS))
    return peft.FourierFTConfig(**common | settings, task_type="SEQ_CLS")


def test_each_module_has_the_n_of_its_key_here_and_in_peft(roberta):
    model = fourierft.adapt(roberta(), CONFIG)
    theirs = peft.get_peft_model(roberta(), peft_config(n_frequency_pattern=PATTERN))
    assert numbers(model) == NUMBERS == numbers(theirs)
    assert fourierft.count(model).adapter == sum(NUMBERS.values())
    assert [layer.entries.n for layer in fourierft.fourier_layers(model).values()] == list(NUMBERS.values())


def test_keys_are_paths_their_ends_and_expressions_as_in_peft():
    def model():
        torch.manual_seed(1)
        return nn.ModuleDict({"a": nn.Linear(9, 9), "b": nn.ModuleDict({"aa": nn.Linear(9, 9), "c": nn.Linear(9, 9)})})

    for pattern, expected in (
        ({"a": 5}, [5, 7, 7]),
        ({"b.aa": 5}, [7, 5, 7]),
        ({"aa": 5}, [7, 5, 7]),
        ({"(aa|c)": 5}, [7, 5, 5]),
        ({"a+": 5}, [7, 5, 7]),
        ({"b.aa": 5, "c": 6, "a": 4}, [4, 5, 6]),
    ):
        ours = fourierft.adapt(model(), FourierConfig(7, 1.0, ("a", "aa", "c"), n_pattern=pattern))
        config = peft.FourierFTConfig(n_frequency=7, target_modules=["a", "aa", "c"], n_frequency_pattern=pattern)
        theirs = [
            p.numel() for name, p in peft.get_peft_model(model(), config).named_parameters() if "spectrum" in name
        ]
        assert [layer.entries.n for layer in fourierft.fourier_layers(ours).values()] == expected == theirs


def test_the_configuration_stays_immutable_whatever_the_order():
    config = FourierConfig(10, 2.0, ("a", "b"), n_pattern={"b": 5, "a": 6})
    assert config == FourierConfig(10, 2.0, ("a", "b"), n_pattern={"a": 6, "b": 5}) == dataclasses.replace(config)
    assert hash(config) == hash(copy.deepcopy(config)) and dict(config.n_pattern) == {"a": 6, "b": 5}


def test_the_scale_follows_the_n_of_each_matrix():
    model = nn.Sequential(nn.Linear(24, 24), nn.Linear(24, 24))
    fourierft.adapt(model, FourierConfig(100, "auto", ("0", "1"), n_pattern={"1": 25}, init="zeros"))
    assert model[1].scale == 4 * model[0].scale  # beyond a third of the width as 1 / n
    wanted = 12 * (2 * 24 * 24 / (25 * 2)) ** 0.5 * (24 / (3 * 25)) ** 0.5
    assert model[1].scale == pytest.approx(wanted)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("scale", [15.0, "auto"])
def test_a_round_trip_keeps_every_coefficient(roberta, tokens, tmp_path, adapted, scale):
    config = dataclasses.replace(CONFIG, scale=scale)
    model = fourierft.adapt(roberta(), config)
    fourierft.save(model, tmp_path, peft=True)
    assert json.loads((tmp_path / DOCUMENT).read_text())["n_frequency_pattern"] == PATTERN
    other = fourierft.adapt(roberta(), config) if adapted else roberta()
    assert torch.equal(fourierft.load(other, tmp_path)(tokens).logits, model(tokens).logits)
    assert other.fourierft_config.n_pattern == CONFIG.n_pattern and numbers(other) == NUMBERS


def test_peft_loads_what_is_saved_here(roberta, tokens, tmp_path):
    model = fourierft.adapt(roberta(), CONFIG)
    fourierft.save(model, tmp_path)
    theirs = peft.PeftModel.from_pretrained(roberta(), tmp_path)
    assert numbers(theirs) == NUMBERS
    torch.testing.assert_close(theirs(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)


def test_what_peft_saves_loads_here(roberta, tokens, tmp_path):
    theirs = peft.get_peft_model(roberta(), peft_config(n_frequency_pattern=PATTERN)).eval()
    theirs.save_pretrained(tmp_path)
    model = fourierft.load(roberta(), tmp_path)
    assert numbers(model) == NUMBERS
    torch.testing.assert_close(model(tokens).logits, theirs(tokens).logits, rtol=1e-5, atol=1e-5)


def test_each_part_has_it(tmp_path):
    def model():
        torch.manual_seed(1)
        return nn.ModuleDict({"qkv": nn.Linear(12, 36), "out": nn.Linear(12, 12)})

    ours = fourierft.adapt(model(), FourierConfig(20, 1.0, ("qkv:q,v", "out"), n_pattern={"qkv": 30}))
    assert ours["qkv"].fourierft_spectrum.shape == (2, 30) and ours["out"].fourierft_spectrum.shape == (20,)
    fourierft.save(ours, tmp_path)
    x = torch.randn(3, 12)
    assert torch.equal(fourierft.load(model(), tmp_path)["qkv"](x), ours["qkv"](x))


def test_files_of_two_saves_with_other_patterns_are_told_apart(roberta, tmp_path):
    fourierft.save(fourierft.adapt(roberta(), CONFIG), tmp_path)
    tensors = (tmp_path / "adapter_model.safetensors").read_bytes()
    other = dataclasses.replace(CONFIG, n_pattern={"query": 60})
    fourierft.save(fourierft.adapt(roberta(), other), tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(tensors)
    with pytest.raises(FourierError, match=r"another save"):
        fourierft.load(roberta(), tmp_path)


def test_an_adapted_model_must_have_the_file_s_pattern(roberta, tmp_path):
    fourierft.save(fourierft.adapt(roberta(), CONFIG), tmp_path)
    model = fourierft.adapt(roberta(), dataclasses.replace(CONFIG, n_pattern={}))
    with pytest.raises(FourierError, match=r"does not fit the adapted model: n_pattern is \(\('1"):
        fourierft.load(model, tmp_path)


# Wrong turns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"query": 0}, r"n_pattern\['query'\]=0 is not possible: give an integer of at least 1"),
        ({"query": 2.5}, r"n_pattern\['query'\]=2\.5 "),
        ({"query": True}, r"n_pattern\['query'\]=True "),
        ({"query": None}, r"n_pattern\['query'\]=None "),
        ({3: 20}, r"n_pattern=\(\(3, 20\),\) is not possible: give the names of modules with their n"),
        ({"": 20}, r"n_pattern=\(\('', 20\),\) "),
        (("query", 20), r"n_pattern=\('query', 20\) "),
        ((("query", 20), ("query", 30)), r"n_pattern=\(\('query', 20\), \('query', 30\)\) "),
        (20, "n_pattern=20 "),
        ({"query(": 20}, r"n_pattern='query\(' is not possible: give a valid regular expression"),
        ({"(?i)query": 20}, r"n_pattern='\(\?i\)query' is not possible"),
    ],
)
def test_a_bad_pattern_is_refused_by_name(pattern, message):
    with pytest.raises(FourierError, match=f"^FourierConfig: {message}"):
        FourierConfig(10, 2.0, ("query",), n_pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"qeury": 20}, r"n_pattern: 'qeury' matches no module, .* query; it has to match an adapted one"),
        ({"value": 20}, r"n_pattern: 'value' matches no module.*adapted one"),
        (
            {"query": 20, "self.query": 20},
            r"n_pattern: 'query' and 'self\.query' both match .*0\.attention\.self\.query",
        ),
        ({"query": 1025}, r"layer\.0\.attention\.self\.query: n=1025 entries cannot be drawn .* n <= 1024"),
    ],
)
def test_a_pattern_that_does_not_fit_the_model_is_refused_and_nothing_changed(roberta, pattern, message):
    model = roberta()
    with pytest.raises(FourierError, match=message):
        fourierft.adapt(model, FourierConfig(10, 2.0, ("query", "key"), n_pattern=pattern))
    assert not fourierft.fourier_layers(model) and all(p.requires_grad for p in model.parameters())

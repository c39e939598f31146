"""An adapter on disk: the same values after a round trip, through PEFT too, and never half a file or half a load."""

import copy
import json
import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from comparing import moved
from safetensors.torch import load_file, save_file

import fourierft
from fourierft import FourierConfig, FourierError

CONFIG = FourierConfig(n=50, scale=15.0, targets=("query", "value"), head=("classifier",), task_type="SEQ_CLS")
WEIGHTS, DOCUMENT = "adapter_model.safetensors", "adapter_config.json"
QUERY = "base_model.model.roberta.encoder.layer.0.attention.self.query.fourierft_spectrum"


def trained(model, config=CONFIG):
    """The model, adapted, with a head that differs from its initial values."""
    return moved(fourierft.adapt(model, config))


def state(model):
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def equal_states(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def edit(folder, **fields):
    document = json.loads((folder / DOCUMENT).read_text())
    (folder / DOCUMENT).write_text(json.dumps(document | fields))


def edit_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def flip(folder, at):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[at] ^= 1
    (folder / WEIGHTS).write_bytes(data)


@pytest.fixture
def saved(roberta, tmp_path):
    model = trained(roberta())
    fourierft.save(model, tmp_path / "adapter")
    return model, tmp_path / "adapter"


# Round trips --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapted", [False, True])
def test_a_round_trip_is_bit_for_bit(saved, roberta, adapted):
    model, folder = saved
    other = fourierft.adapt(roberta(), CONFIG) if adapted else roberta()
    assert fourierft.load(other, folder) is other
    assert equal_states(state(other), state(model))
    assert other.fourierft_config == CONFIG
    trainable = [[name for name, p in m.named_parameters() if p.requires_grad] for m in (model, other)]
    assert trainable[0] == trainable[1]


def test_loading_a_plain_model_draws_nothing_and_warns_of_nothing(saved, roberta, recwarn):
    model = roberta()
    random = torch.get_rng_state()
    fourierft.load(model, saved[1])
    assert torch.equal(torch.get_rng_state(), random)
    assert not [w for w in recwarn if "delta_W" in str(w.message)]


@pytest.mark.parametrize("extra", [{"band": (3, 2.5)}, {"basis": "orthogonal"}, {"entries": "grid"}])
def test_what_peft_cannot_express_survives_a_round_trip(roberta, tmp_path, tokens, extra):
    config = FourierConfig(50, 15.0, ("query", "value"), shared_entries=False, **extra)
    model = trained(roberta(), config)
    fourierft.save(model, tmp_path)
    other = fourierft.load(roberta(), tmp_path)
    assert other.fourierft_config == config
    assert torch.equal(other(tokens).logits, model(tokens).logits)
    plain = fourierft.adapt(roberta(), FourierConfig(50, 15.0, ("query", "value"), shared_entries=False))
    with pytest.raises(FourierError, match=f"{next(iter(extra))} is "):
        fourierft.load(plain, tmp_path)


def test_the_weights_hold_coefficients_and_head_and_nothing_else(saved):
    _, folder = saved
    tensors = load_file(folder / WEIGHTS)
    spectra = {key for key in tensors if key.endswith("fourierft_spectrum")}
    assert len(spectra) == 4 and QUERY in spectra
    assert tensors.keys() - spectra == {
        f"base_model.model.classifier.{part}.{kind}" for part in ("dense", "out_proj") for kind in ("weight", "bias")
    }
    assert sorted(os.listdir(folder)) == [DOCUMENT, WEIGHTS]


# PEFT ---------------------------------------------------------------------------------------------------------------


def test_peft_loads_what_is_saved_here(saved, roberta, tokens):
    model, folder = saved
    theirs = peft.PeftModel.from_pretrained(roberta(), folder)
    torch.testing.assert_close(theirs(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)


def test_peft_loads_conv1d_from_here(gpt2, tokens, tmp_path):
    model = trained(gpt2(), FourierConfig(50, 5.0, ("c_attn",)))
    fourierft.save(model, tmp_path)
    assert json.loads((tmp_path / DOCUMENT).read_text())["fan_in_fan_out"] is True
    theirs = peft.PeftModel.from_pretrained(gpt2(), tmp_path)
    torch.testing.assert_close(theirs(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("adapted", [False, True])
def test_what_peft_saves_loads_here(roberta, tokens, tmp_path, adapted):
    config = peft.FourierFTConfig(
        n_frequency=50, scaling=15.0, random_loc_seed=11, target_modules=["query", "value"], task_type="SEQ_CLS"
    )
    theirs = peft.get_peft_model(roberta(), config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    theirs.save_pretrained(tmp_path)
    # PEFT's file names `score` as a head too, which this model lacks.
    assert json.loads((tmp_path / DOCUMENT).read_text())["modules_to_save"] == ["classifier", "score"]
    model = roberta()
    if adapted:
        fourierft.adapt(model, FourierConfig(50, 15.0, ("query", "value"), head=("classifier",), entry_seed=11))
    fourierft.load(model, tmp_path)
    torch.testing.assert_close(model(tokens).logits, theirs(tokens).logits, rtol=1e-5, atol=1e-5)


def test_the_saved_configuration_is_peft_s_own(roberta, tmp_path):
    config = peft.FourierFTConfig(n_frequency=50, target_modules=["query"], modules_to_save=["classifier"])
    fourierft.save(fourierft.adapt(roberta(), FourierConfig(50, 15.0, ("query",), ("classifier",), 777)), tmp_path)
    peft.get_peft_model(roberta(), config).save_pretrained(tmp_path / "peft")
    theirs = json.loads((tmp_path / "peft" / DOCUMENT).read_text())
    ours = json.loads((tmp_path / DOCUMENT).read_text())
    del theirs["peft_version"]
    theirs["base_model_name_or_path"] = theirs["base_model_name_or_path"] or None  # "" before PEFT 0.21
    assert ours == theirs | {"scaling": 15.0}


def test_peft_finds_the_base_by_the_name_that_it_was_loaded_from(roberta, tmp_path, tokens):
    roberta().save_pretrained(tmp_path / "base")
    model = trained(type(roberta()).from_pretrained(tmp_path / "base")).eval()
    fourierft.save(model, tmp_path / "adapter")
    theirs = peft.AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
    assert type(theirs) is peft.PeftModelForSequenceClassification
    torch.testing.assert_close(theirs(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)
    other = fourierft.adapt(roberta(), replace(CONFIG, base_model="someone/else"))
    fourierft.save(other, tmp_path / "other")
    assert json.loads((tmp_path / "other" / DOCUMENT).read_text())["base_model_name_or_path"] == "someone/else"


def test_a_head_by_peft_s_rule_without_a_dot_loads(tmp_path):
    """For `classifier` PEFT also takes `pre_classifier`, as in DistilBERT."""

    def model():
        torch.manual_seed(1)
        names = ("query", "pre_classifier", "classifier")
        return torch.nn.Sequential(OrderedDict((name, torch.nn.Linear(9, 9)) for name in names))

    config = peft.FourierFTConfig(n_frequency=5, target_modules=["query"], modules_to_save=["classifier"])
    theirs = peft.get_peft_model(model(), config)
    with torch.no_grad():
        theirs.base_model.model.pre_classifier.modules_to_save["default"].weight.add_(1.0)
    theirs.save_pretrained(tmp_path)
    ours, x = fourierft.load(model(), tmp_path), torch.randn(4, 9)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("extra", [{"band": (3, 2)}, {"shared_entries": False}, {"basis": "dct"}, {"entries": "grid"}])
def test_what_peft_cannot_express_is_refused_by_name_and_by_peft(roberta, tmp_path, extra):
    model = trained(roberta(), FourierConfig(50, 15.0, ("query",), **extra))
    with pytest.raises(FourierError, match=rf"PEFT cannot express {next(iter(extra))}="):
        fourierft.save(model, tmp_path / "a", peft=True)
    assert not (tmp_path / "a").exists()
    fourierft.save(model, tmp_path / "a")
    with pytest.raises(KeyError, match=r"FOURIERFT_EXTENDED: PEFT cannot read .*fourierft\.load.*fourierft\.to_lora"):
        peft.PeftModel.from_pretrained(roberta(), tmp_path / "a")
    edit(tmp_path / "a", peft_type="FOURIERFT_EXTENDED")  # which an older file says
    assert equal_states(state(fourierft.load(roberta(), tmp_path / "a")), state(model))


# Interruptions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("older", [False, True])
def test_a_failed_write_leaves_the_older_adapter_and_no_debris(saved, roberta, monkeypatch, tmp_path, call, older):
    model, folder = saved
    folder = folder if older else tmp_path / "new"
    before = {file.name: file.read_bytes() for file in folder.iterdir()} if older else {}
    with torch.no_grad():
        for layer in fourierft.fourier_layers(model).values():
            layer.fourierft_spectrum.add_(1.0)

    def fail(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="no space left"):
            fourierft.save(model, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_mix_of_two_saves_is_found_out(saved, roberta):
    _, folder = saved
    weights = (folder / WEIGHTS).read_bytes()
    fourierft.save(trained(roberta(), FourierConfig(50, 16.0, ("query", "value"), head=("classifier",))), folder)
    (folder / WEIGHTS).write_bytes(weights)
    with pytest.raises(FourierError, match=r"another save.*15\.0.*16\.0"):
        fourierft.load(roberta(), folder)


# Wrong turns: each names what is wrong, and the model stays as it was -------------------------------------------------


def broken(folder):
    """Ways to break a saved adapter, with what the message must say."""
    return {
        "no folder": (lambda: None, r"elsewhere.adapter_config\.json does not exist"),
        "no weights": ((folder / WEIGHTS).unlink, r"adapter_model\.safetensors does not exist"),
        "not json": (lambda: (folder / DOCUMENT).write_text("{"), "not valid JSON"),
        "cut": (
            lambda: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100]),
            "not a whole safetensors",
        ),
        "method": (lambda: edit(folder, peft_type="LORA"), "peft_type is 'LORA'"),
        "pattern": (
            lambda: edit(folder, n_frequency_pattern={"query": 3}),
            r'another save.*n by module are .*"value"\]\] in the one and .*\{"query": 3\}\] in the other',
        ),
        "pattern's n": (
            lambda: edit(folder, n_frequency_pattern={"query": "3"}),
            r"adapter_config\.json: .*n_pattern\['query'\]='3'",
        ),
        "layers": (lambda: edit(folder, layers_to_transform=[0]), r"layers_to_transform=\[0\]"),
        "bias": (lambda: edit(folder, bias="all"), "bias='all' is not supported"),
        "extension": (
            lambda: edit(folder, fourierft={"slices": 1}),
            r"fourierft=\{'slices': 1\} is not a table of band,",
        ),
        "seed": (lambda: edit_weights(folder, lambda t: None) or edit(folder, random_loc_seed=None), "entry_seed=None"),
        "targets": (
            lambda: edit_weights(folder, lambda t: None) or edit(folder, target_modules=["q_proj"]),
            "'q_proj' matches no module",
        ),
        "parts": (lambda: edit(folder, target_modules=["query:q"]), r'another save.*"query", "value".*"query:q"'),
        "bit": (lambda: flip(folder, -1), r"adapter_model\.safetensors is damaged"),
        "type": (lambda: edit_weights(folder, lambda t: t.update({QUERY: t[QUERY].int()})), f"{QUERY} is torch.int32"),
        "a folder": (
            lambda: (folder / DOCUMENT).unlink() or (folder / DOCUMENT).mkdir(),
            r"adapter_config\.json cannot be read",
        ),
        "unknown": (lambda: edit(folder, use_dora=True), "use_dora=True is unknown"),
        "layer": (lambda: edit(folder, layers_to_transform=0), "layers_to_transform=0 is not supported"),
        "head": (lambda: edit(folder, modules_to_save=True), r"adapter_config\.json: .*head=True"),
        "name": (lambda: edit(folder, target_modules=[1]), r"adapter_config\.json: .*targets=\(1,\)"),
        "scale": (lambda: edit(folder, scaling=10**400), r"adapter_config\.json: .*scale=10000"),
        "rule": (lambda: edit(folder, scaling="auto"), r"adapter_config\.json: scaling='auto' is for fourierft\.adapt"),
        "preset": (
            lambda: edit_weights(folder, lambda t: None) or edit(folder, target_modules="all-linear"),
            "target_modules='all-linear' is for fourierft",
        ),
        "init": (lambda: edit(folder, init_weights="yes"), "init_weights='yes'"),
        "task": (lambda: edit(folder, task_type=[1]), r"task_type=\[1\]"),
        "missing": (lambda: edit_weights(folder, lambda t: t.pop(QUERY)), f"{QUERY} is missing"),
        "unexpected": (lambda: edit_weights(folder, lambda t: t.update(x=torch.ones(1))), "x belongs to no module"),
        "shape": (
            lambda: edit_weights(folder, lambda t: t.update({QUERY: torch.ones(3)})),
            rf"{QUERY} has shape \(3,\), the model \(50,\)",
        ),
    }


@pytest.mark.parametrize("case", [*broken(Path())])
def test_a_load_that_fails_changes_nothing(saved, roberta, case):
    _, folder = saved
    damage, message = broken(folder)[case]
    damage()
    model = roberta()
    before = state(model)
    with pytest.raises(FourierError, match=message):
        fourierft.load(model, folder if case != "no folder" else folder / "elsewhere")
    assert equal_states(state(model), before) and not fourierft.fourier_layers(model)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_another_head_is_refused_by_shape(saved, roberta):
    with pytest.raises(FourierError, match=r"classifier\.out_proj\.\w+ has shape \(2,"):
        fourierft.load(roberta(num_labels=3), saved[1])


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 51), ("scale", 16.0), ("entry_seed", 1), ("targets", ("query",)), ("head", ()), ("shared_entries", False)],
)
def test_an_adapted_model_must_agree_with_the_file(saved, roberta, field, value):
    fields = {"n": 50, "scale": 15.0, "targets": ("query", "value"), "head": ("classifier",)} | {field: value}
    model = fourierft.adapt(roberta(), FourierConfig(**fields))
    before = state(model)
    with pytest.raises(FourierError, match=rf"does not fit the adapted model: {field} is "):
        fourierft.load(model, saved[1])
    assert equal_states(state(model), before)


def test_a_merged_model_is_not_loaded_into(saved):
    model, folder = copy.deepcopy(saved[0]), saved[1]
    fourierft.merge(model)
    with pytest.raises(FourierError, match=r"query is merged: call fourierft\.unmerge"):
        fourierft.load(model, folder)


def test_a_plain_model_cannot_be_saved(roberta, tmp_path):
    with pytest.raises(FourierError, match="no FourierFT layer"):
        fourierft.save(roberta(), tmp_path / "a")
    assert not (tmp_path / "a").exists()

"""targets="all-linear": every linear layer of the common architectures, the layers that PEFT means by it."""

import json

import peft
import pytest
import torch
from torch import nn

import fourierft
from fourierft import FourierConfig, FourierError

pytestmark = pytest.mark.filterwarnings("ignore:delta_W starts out")  # the models are tiny


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = dict(vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)
    return LlamaForCausalLM(LlamaConfig(**sizes)).eval()


def bert():
    from transformers import BertConfig, BertForMaskedLM

    sizes = dict(vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)
    return BertForMaskedLM(BertConfig(**sizes)).eval()


def vit():
    from transformers import ViTConfig, ViTForImageClassification

    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=8)
    return ViTForImageClassification(ViTConfig(**sizes, patch_size=4)).eval()


def mamba():
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=20, hidden_size=16, state_size=4, num_hidden_layers=2)).eval()


def adapted(model, head=()):
    return fourierft.adapt(model, FourierConfig(20, "auto", "all-linear", head))


def ends(paths):
    return {path.rsplit(".", 1)[-1] for path in paths}


@pytest.mark.parametrize("name", ["roberta", "gpt2", "llama", "bert", "vit"])
def test_the_layers_are_those_of_peft(name, request):
    make = {"llama": llama, "bert": bert, "vit": vit}.get(name) or request.getfixturevalue(name)
    head = ("classifier",) if name in ("roberta", "vit") else ()
    config = peft.FourierFTConfig(n_frequency=20, target_modules="all-linear", modules_to_save=list(head) or None)
    theirs = peft.get_peft_model(make(), config).base_model.model
    layer = peft.tuners.fourierft.layer.FourierFTLayer
    expected = {path for path, module in theirs.named_modules() if isinstance(module, layer)}
    expected = {path for path in expected if not path.startswith("classifier.")}  # PEFT also adapts within a head
    listed = fourierft.all_linear(make(), head)
    assert len(listed) == len(set(listed)) >= 8 and set(listed) == expected
    model = adapted(make(), head)
    assert tuple(fourierft.fourier_layers(model)) == listed == model.fourierft_config.targets


def test_the_output_embedding_stays_frozen_and_unadapted_within_another_model_too(gpt2):
    for model in (gpt2(), nn.ModuleDict({"text": gpt2()}), llama(), bert()):
        listed = ends(fourierft.all_linear(model))
        assert listed and not listed & {"lm_head", "decoder"}


def test_the_pooler_is_adapted_unless_it_is_a_head():
    from transformers import BertModel

    model = BertModel(bert().config)
    assert "pooler.dense" in fourierft.all_linear(model)
    assert "pooler.dense" not in fourierft.all_linear(model, ("pooler",))


def test_mamba_is_adapted_where_it_calls_its_projections():
    model = mamba()
    assert ends(fourierft.all_linear(model)) == {"in_proj"}
    adapted(model)(torch.arange(5)[None]).logits.sum().backward()
    assert fourierft.check_gradients(model) == []


def test_torch_s_own_encoder_is_adapted_but_for_what_its_attention_reads():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
    assert fourierft.all_linear(model) == tuple(f"layers.{k}.linear{i}" for k in (0, 1) for i in (1, 2))
    adapted(model)(torch.randn(2, 5, 16)).sum().backward()
    assert fourierft.check_gradients(model) == []


def test_layers_of_bitsandbytes_are_listed():
    bnb = pytest.importorskip("bitsandbytes").nn
    model = nn.Sequential(bnb.Linear4bit(64, 64), nn.Tanh(), bnb.Linear8bitLt(64, 64), nn.Conv2d(1, 1, 1))
    assert fourierft.all_linear(model) == ("0", "2")


def test_a_file_names_the_layers_and_loads_everywhere(roberta, tokens, tmp_path):
    model = adapted(roberta(), ("classifier",))
    fourierft.save(model, tmp_path, peft=True)
    listed = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert tuple(listed) == fourierft.all_linear(roberta(), ("classifier",))
    for other in (roberta(), adapted(roberta(), ("classifier",))):
        assert torch.equal(fourierft.load(other, tmp_path)(tokens).logits, model(tokens).logits)
    theirs = peft.PeftModel.from_pretrained(roberta(), tmp_path)
    torch.testing.assert_close(theirs(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_peft_s_file_of_the_preset_loads_here(gpt2, tokens, tmp_path):
    config = peft.FourierFTConfig(n_frequency=20, scaling=9.0, target_modules="all-linear", task_type="CAUSAL_LM")
    theirs = peft.get_peft_model(gpt2(), config).eval()
    theirs.save_pretrained(tmp_path)
    model = fourierft.load(gpt2(), tmp_path)
    torch.testing.assert_close(model(tokens).logits, theirs(tokens).logits, rtol=1e-5, atol=1e-5)


def test_a_path_that_another_one_ends_in_means_one_layer_alone(tmp_path):
    def model():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(9, 9), nn.Sequential(nn.LayerNorm(9), nn.Linear(9, 9)))

    ours = adapted(model())
    assert list(fourierft.fourier_layers(ours)) == ["0", "1.1"]
    fourierft.save(ours, tmp_path)
    x = torch.randn(4, 9)
    assert torch.equal(fourierft.load(model(), tmp_path)(x), ours(x))
    torch.testing.assert_close(peft.PeftModel.from_pretrained(model(), tmp_path)(x), ours(x))


def test_what_cannot_be_listed_is_told(block):
    with pytest.raises(FourierError, match=r"this Sequential has no linear layer to adapt outside the head \('0',\)"):
        adapted(nn.Sequential(nn.Linear(9, 9)), ("0",))
    with pytest.raises(FourierError, match="head: 'clasifier' matches no module"):
        adapted(block(), ("clasifier",))
    with pytest.raises(FourierError, match="adapted already"):
        adapted(adapted(block()))
    with pytest.raises(FourierError, match=r"^1: .* it holds weight_g, weight_v"):
        adapted(nn.Sequential(nn.Linear(9, 9), nn.utils.weight_norm(nn.Linear(9, 9))))

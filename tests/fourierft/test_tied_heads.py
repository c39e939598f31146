"""A head that shares its weight with the embedding: as in PEFT it is a copy, and the embedding stays as it was."""

import json

import peft
import pytest
import torch
from comparing import moved

import fourierft
from fourierft import FourierConfig

TARGETS = {"gpt2": "c_attn", "llama": "q_proj"}
EMBEDDING = {"gpt2": "wte", "llama": "embed_tokens"}


@pytest.fixture
def llama():
    """Factory of a tiny LLaMA with random weights, in eval mode."""
    from transformers import LlamaConfig, LlamaForCausalLM

    def make():
        torch.manual_seed(5)
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
        config = LlamaConfig(vocab_size=60, tie_word_embeddings=True, initializer_range=0.2, **sizes)
        return LlamaForCausalLM(config).eval()

    return make


@pytest.fixture(params=["gpt2", "llama"])
def base(request):
    """Name and factory of a model whose output layer is its embedding."""
    make = request.getfixturevalue(request.param)
    model = make()
    assert model.lm_head.weight is embedding(model)
    return request.param, make


def embedding(model):
    return model.get_input_embeddings().weight


@pytest.mark.parametrize("head", [("lm_head",), ("embedding",), ("lm_head", "embedding")])
def test_a_tied_head_of_peft_gives_the_logits_of_peft(base, head, tokens, tmp_path):
    name, make = base
    head = [EMBEDDING[name] if each == "embedding" else each for each in head]
    config = peft.FourierFTConfig(n_frequency=50, scaling=5.0, target_modules=[TARGETS[name]], modules_to_save=head)
    theirs = moved(peft.get_peft_model(make(), config).eval(), by=0.3)
    theirs.save_pretrained(tmp_path)
    for model in (make(), fourierft.adapt(make(), FourierConfig(50, 5.0, (TARGETS[name],), tuple(head), 777))):
        fourierft.load(model, tmp_path)
        torch.testing.assert_close(model(tokens).logits, theirs(tokens).logits, rtol=1e-5, atol=1e-5)


def test_a_tied_head_trained_here_leaves_the_embedding_and_loads_in_peft(base, tokens, tmp_path):
    name, make = base
    plain = make()
    model = fourierft.adapt(make(), FourierConfig(50, 5.0, (TARGETS[name],), ("lm_head",)))
    before = fourierft.count(model)
    assert (before.head, before.total) == (60 * 32, fourierft.count(plain).total + 60 * 32 + before.adapter)
    assert torch.equal(model.lm_head.weight, embedding(plain)) and model.lm_head.weight is not embedding(model)
    moved(model, by=0.3)
    assert torch.equal(embedding(model), embedding(plain)) and not embedding(model).requires_grad
    fourierft.save(model, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["modules_to_save"] == ["lm_head"]
    theirs = peft.PeftModel.from_pretrained(make(), tmp_path)
    torch.testing.assert_close(model(tokens).logits, theirs(tokens).logits, rtol=1e-5, atol=1e-5)
    assert torch.equal(fourierft.load(make(), tmp_path)(tokens).logits, model(tokens).logits)


def test_tying_again_and_the_model_s_own_files_keep_what_was_trained(base, tokens, tmp_path):
    name, make = base
    model = fourierft.adapt(make(), FourierConfig(50, 5.0, (TARGETS[name],), ("lm_head",)))
    fourierft.merge(moved(model, by=0.3))
    logits = model(tokens).logits
    model.tie_weights()
    model.init_weights()
    assert torch.equal(model(tokens).logits, logits)
    model.save_pretrained(tmp_path)
    assert torch.equal(type(model).from_pretrained(tmp_path).eval()(tokens).logits, logits)


def test_what_a_head_shares_within_itself_stays_shared():
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    model = BertForMaskedLM(BertConfig(vocab_size=60, tie_word_embeddings=True, **sizes))
    assert model.cls.predictions.decoder.weight is embedding(model)
    fourierft.adapt(model, FourierConfig(50, 5.0, ("query",), ("cls",)))
    predictions = model.cls.predictions
    assert predictions.decoder.bias is predictions.bias
    assert predictions.decoder.weight is not embedding(model) and predictions.decoder.weight.requires_grad
    model.tie_weights()
    assert predictions.decoder.weight is not embedding(model)

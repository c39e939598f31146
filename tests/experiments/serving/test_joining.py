"""Rows of every length join and leave between steps, and each has the tokens that its merged model writes alone,
whatever tells the model where a token stands: learned positions, rotations, a window that slides."""

from types import SimpleNamespace

import pytest
import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

import fourierft
from experiments.serving.engine import Engine, Job

FIRST = 0x4E00  # the character of token 0: one each, so that a text tells its tokens
TOKENIZER = SimpleNamespace(decode=lambda ids, **_: "".join(chr(FIRST + token) for token in ids))
WINDOW = 6


def gpt2():
    config = GPT2Config(vocab_size=90, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.3)
    return GPT2LMHeadModel(config)


def mistral():
    sizes = {"vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": WINDOW}
    return MistralForCausalLM(MistralConfig(**sizes, **heads, max_position_embeddings=128, initializer_range=0.3))


@pytest.mark.parametrize(("kind", "targets"), [(gpt2, ("c_attn:q,v",)), (mistral, ("q_proj", "v_proj"))])
def test_each_row_has_the_tokens_of_its_merged_model_alone(kind, targets, tmp_path):
    def make():
        torch.manual_seed(0)
        model = kind().eval()
        model.generation_config = GenerationConfig()
        return model

    adapted = fourierft.adapt(make(), fourierft.FourierConfig(n=20, scale=15.0, targets=targets))
    for name in ("anna", "ben"):
        for layer in fourierft.fourier_layers(adapted).values():
            layer.reset_spectrum("normal")
        fourierft.save(adapted, tmp_path / name)
    engine = Engine(fourierft.Bank.over(make(), tmp_path), TOKENIZER, set(), batch=3)
    asked = [("anna", range(5, 30), 9), (None, [7, 8], 20), ("ben", [9], 14), ("anna", range(30, 38), 12)]
    told = [[] for _ in asked]
    for each, (name, prompt, tokens) in zip(told, asked, strict=True):
        engine.submit(Job(name, list(prompt), tokens, lambda part, each=each: each.append(part.text)))
        engine._step()
    while any(engine.load.values()):
        engine._step()

    for each, (name, prompt, tokens) in zip(told, asked, strict=True):
        model = fourierft.merge(fourierft.load(make(), tmp_path / name)) if name else make()
        ids = model.generate(torch.tensor([list(prompt)]), max_new_tokens=tokens, do_sample=False, pad_token_id=0)[0]
        assert [ord(letter) - FIRST for letter in "".join(each)] == ids[len(prompt) :].tolist()

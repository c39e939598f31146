"""The paper's models at full size, without weights: their shapes, the adapted matrices and the head.

`ARCHITECTURES` are the eight of Table 1, the first LLaMAs of Table 4, and Llama-3.2-3B of PEFT's method comparison. The
functions give transformers configurations of the published shapes; `measure/workloads.py` times such models.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    RobertaConfig,
    ViTConfig,
)


@dataclass(frozen=True)
class Architecture:
    """A model without weights. attention: the matrices that the paper adapts, as `Method.adapt` takes them."""

    config: PretrainedConfig
    auto: type
    attention: tuple[str, ...]
    head: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """The model on the meta device: every shape, no memory."""
        with torch.device("meta"):
            return self.auto.from_config(self.config)


def roberta(width: int, depth: int, **options) -> RobertaConfig:
    """RoBERTa (Liu et al. 2019), of heads of 64."""
    shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": width // 64}
    shape |= {"intermediate_size": 4 * width, "vocab_size": 50265}
    return RobertaConfig(**shape | {"max_position_embeddings": 514, "type_vocab_size": 1} | options)


def gpt2(width: int, depth: int, **options) -> GPT2Config:
    """GPT-2 (Radford et al. 2019), of heads of 64."""
    shape = {"n_embd": width, "n_layer": depth, "n_head": width // 64, "vocab_size": 50257, "n_positions": 1024}
    return GPT2Config(**shape | options)


def llama(width: int, depth: int, inner: int, **options) -> LlamaConfig:
    """LLaMA (Touvron et al. 2023), of heads of 128; 1 and 2 have the same shapes at 7B and at 13B."""
    shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": width // 128}
    return LlamaConfig(**shape | {"intermediate_size": inner, "vocab_size": 32000} | options)


def vit(width: int, depth: int, **options) -> ViTConfig:
    """ViT (Dosovitskiy et al. 2021), of heads of 64, on 224 × 224 pixels in patches of 16 × 16."""
    shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": width // 64}
    shape |= {"intermediate_size": 4 * width, "image_size": 224, "patch_size": 16}
    return ViTConfig(**shape | options)


# By type of model: the class, the matrices that the paper adapts, and the head, which language models lack.
KINDS = {
    "roberta": (AutoModelForSequenceClassification, ("query", "value"), ("classifier",)),
    "gpt2": (AutoModelForCausalLM, ("c_attn:q,v",), ()),  # parts of one fused projection
    "llama": (AutoModelForCausalLM, ("q_proj", "v_proj"), ()),
    "vit": (AutoModelForImageClassification, ("q_proj", "v_proj"), ("classifier",)),
}
LLAMA_32_3B = {"vocab_size": 128256, "num_key_value_heads": 8, "tie_word_embeddings": True}
# Heads of two classes (five of the six GLUE tasks) and of ten (CIFAR-10, EuroSAT).
CONFIGS = {
    "roberta_base": roberta(768, 12, num_labels=2),
    "roberta_large": roberta(1024, 24, num_labels=2),
    "gpt2_medium": gpt2(1024, 24),
    "gpt2_large": gpt2(1280, 36),
    "llama1_7b": llama(4096, 32, 11008),
    "llama1_13b": llama(5120, 40, 13824),
    "llama2_7b": llama(4096, 32, 11008),
    "llama2_13b": llama(5120, 40, 13824),
    "llama32_3b": llama(3072, 28, 8192, **LLAMA_32_3B),
    "vit_base": vit(768, 12, num_labels=10),
    "vit_large": vit(1024, 24, num_labels=10),
}
ARCHITECTURES = {name: Architecture(config, *KINDS[config.model_type]) for name, config in CONFIGS.items()}

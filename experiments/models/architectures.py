"""The paper's models at full size, without weights: their shapes, the adapted matrices and the head.

`ARCHITECTURES` are those of `shapes.py`. The functions give transformers configurations; `measure/workloads.py` times
such models.
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

from experiments.models.shapes import HEAD, SHAPES, Shape


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
    """LLaMA (Touvron et al. 2023), of heads of HEAD; 1 and 2 have the same shapes at 7B and at 13B."""
    shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": width // HEAD}
    return LlamaConfig(**shape | {"intermediate_size": inner, "vocab_size": 32000} | options)


def vit(width: int, depth: int, **options) -> ViTConfig:
    """ViT (Dosovitskiy et al. 2021), of heads of 64, on 224 × 224 pixels in patches of 16 × 16."""
    shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": width // 64}
    shape |= {"intermediate_size": 4 * width, "image_size": 224, "patch_size": 16}
    return ViTConfig(**shape | options)


# By type of model: its function, its class, and the head, which language models lack.
KINDS = {
    "roberta": (roberta, AutoModelForSequenceClassification, ("classifier",)),
    "gpt2": (gpt2, AutoModelForCausalLM, ()),
    "llama": (llama, AutoModelForCausalLM, ()),
    "vit": (vit, AutoModelForImageClassification, ("classifier",)),
}


def _architecture(shape: Shape) -> Architecture:
    make, auto, head = KINDS[shape.kind]
    return Architecture(make(shape.width, shape.depth, **shape.settings), auto, shape.attention, head)


ARCHITECTURES = {name: _architecture(shape) for name, shape in SHAPES.items()}

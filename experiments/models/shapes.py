"""The shapes of the paper's models at full size, as they are published; `architectures.py` makes models of them.

They are the eight of Table 1, the first LLaMAs of Table 4, and Llama-3.2-3B of PEFT's method comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HEAD = 128  # of LLaMA's attention: the width of one head
LLAMA_32_3B = {"vocab_size": 128256, "num_key_value_heads": 8, "tie_word_embeddings": True}
# The matrices that the paper adapts, by type of model: query and value, as `Method.adapt` takes their names.
ATTENTION = {
    "roberta": ("query", "value"),
    "gpt2": ("c_attn:q,v",),  # parts of one fused projection
    "llama": ("q_proj", "v_proj"),
    "vit": ("q_proj", "v_proj"),
}


@dataclass(frozen=True)
class Shape:
    """A type of model, its width and depth, and what else its function in `architectures.py` takes."""

    kind: str
    width: int
    depth: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def attention(self) -> tuple[str, ...]:
        """The names of the matrices that the paper adapts."""
        return ATTENTION[self.kind]

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Their shapes (out, in): square, but for values that heads share."""
        shared = self.settings.get("num_key_value_heads")
        return [(self.width, self.width), (shared * HEAD if shared else self.width, self.width)] * self.depth


# Heads of two classes (five of the six GLUE tasks) and of ten (CIFAR-10, EuroSAT).
SHAPES = {
    "roberta_base": Shape("roberta", 768, 12, {"num_labels": 2}),
    "roberta_large": Shape("roberta", 1024, 24, {"num_labels": 2}),
    "gpt2_medium": Shape("gpt2", 1024, 24),
    "gpt2_large": Shape("gpt2", 1280, 36),
    "llama1_7b": Shape("llama", 4096, 32, {"inner": 11008}),
    "llama1_13b": Shape("llama", 5120, 40, {"inner": 13824}),
    "llama2_7b": Shape("llama", 4096, 32, {"inner": 11008}),
    "llama2_13b": Shape("llama", 5120, 40, {"inner": 13824}),
    "llama32_3b": Shape("llama", 3072, 28, {"inner": 8192, **LLAMA_32_3B}),
    "vit_base": Shape("vit", 768, 12, {"num_labels": 10}),
    "vit_large": Shape("vit", 1024, 24, {"num_labels": 10}),
}

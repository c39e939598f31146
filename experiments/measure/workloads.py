"""The cases of `make bench`: one layer, or a training step of a whole model, with random weights."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)

from experiments.measure.mixed import Mixed, mixed
from experiments.models import architectures
from experiments.models.shapes import LLAMA_32_3B

# The model, its forward pass, and the gradient of the output (None: the output is a scalar).
Work = tuple[nn.Module, Callable[[nn.Module], Tensor], Tensor | None]


@dataclass(frozen=True)
class Layer:
    """Forward and backward of one d × d layer on `tokens` rows."""

    d: int
    tokens: int
    dtype: torch.dtype = torch.float32
    n: int = 1000
    grid: int = 1000
    targets = ("query",)
    optimizer = None
    compiled = False

    @property
    def description(self) -> str:
        return f"one layer, {self.d} × {self.d}, {self.tokens} tokens, {_name(self.dtype)}"

    @property
    def x_bytes(self) -> int:
        """Bytes of the input."""
        return self.tokens * self.d * self.dtype.itemsize

    def build(self, device: str) -> Work:
        """The layer as module "query" of a model. The input, (tokens, d), requires a gradient."""
        like = {"device": device, "dtype": self.dtype}
        model = nn.Sequential(OrderedDict(query=nn.Linear(self.d, self.d, **like)))
        x, gradient = (torch.randn(self.tokens, self.d, **like) for _ in range(2))
        return model, lambda model: model(x.detach().requires_grad_()), gradient


@dataclass(frozen=True)
class WholeModel:
    """A training step of a transformers model on sequences of `length` tokens, or on images if that is None."""

    auto: type
    config: PretrainedConfig
    batch: int
    length: int | None
    targets: tuple[str, ...]
    dtype: torch.dtype = torch.bfloat16
    attention: str = "sdpa"
    n: int = 1000
    grid: int = 1000
    compiled: bool = False  # the whole adapted model, by torch.compile
    optimizer = torch.optim.AdamW
    x_bytes = None

    @property
    def description(self) -> str:
        config, size = self.config, f"{self.batch} × {self.length} tokens" if self.length else f"{self.batch} images"
        shape = f"{config.num_hidden_layers} layers of width {config.hidden_size}"
        targets = "all linear layers" if self.targets == ALL_LINEAR else f"targets {' and '.join(self.targets)}"
        how = f"{_name(self.dtype)}, {self.attention} attention, {targets}" + ", by torch.compile" * self.compiled
        return f"training step of {config.model_type}, {shape}, {size}, {how}"

    def build(self, device: str) -> Work:
        """The forward gives the loss. The embeddings' output requires a gradient: backward passes all layers."""
        with torch.device(device):
            model = self.auto.from_config(self.config, dtype=self.dtype, attn_implementation=self.attention).train()
            if self.length is None:
                shape = (self.batch, self.config.num_channels, self.config.image_size, self.config.image_size)
                inputs = {"pixel_values": torch.randn(shape, dtype=self.dtype)}
            else:  # from 2 on: RoBERTa's padding is 1
                inputs = {"input_ids": torch.randint(2, self.config.vocab_size, (self.batch, self.length))}
            classes = torch.zeros(self.batch, dtype=torch.long)
        inputs["labels"] = inputs["input_ids"] if self.auto is AutoModelForCausalLM else classes
        model.get_input_embeddings().register_forward_hook(lambda module, given, output: output.requires_grad_())
        return model, lambda model: model(**inputs).loss, None


Case = Layer | WholeModel | Mixed


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


ALL_LINEAR = "query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"
CPU = {"vocabulary": 1000, "dtype": torch.float32, "attention": "eager"}  # SDPA's backward is slow on CPUs
FEW = {"targets": ALL_LINEAR, "n": 333, "grid": 324}  # a third of the entries for three times as many matrices


def roberta(
    width: int,
    depth: int,
    batch: int,
    length: int,
    vocabulary: int = 50265,
    targets: tuple[str, ...] = ("query", "value"),
    **options,
) -> WholeModel:
    """RoBERTa without dropout, with a frozen classifier."""
    config = architectures.roberta(
        width,
        depth,
        vocab_size=vocabulary,
        max_position_embeddings=length + 2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return WholeModel(AutoModelForSequenceClassification, config, batch, length, targets, **options)


def llama(batch: int, length: int, *shape: int, **config) -> WholeModel:
    """LLaMA of this shape (width, depth, inner), with the options in `config`."""
    config = architectures.llama(*shape, use_cache=False, **config)
    return WholeModel(AutoModelForCausalLM, config, batch, length, ("q_proj", "v_proj"))


VIT_LARGE = architectures.vit(1024, 24)
SMALL_LLAMA = architectures.llama(512, 4, 1376, vocab_size=1000)
GPT2_MEDIUM = architectures.gpt2(1024, 24, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False)

SETS: dict[str, dict[str, Case]] = {
    "small": {
        "layer_768_2048": Layer(768, 2048),
        "layer_1024_4096": Layer(1024, 4096),
        "layer_4096_512": Layer(4096, 512),
        "layer_4096_2048": Layer(4096, 2048),
        "encoder_4_layers": roberta(768, 4, 8, 64, **CPU),
        "encoder_4_layers_all": roberta(768, 4, 8, 64, **CPU, **FEW),
        "minilm_all": roberta(384, 6, 32, 32, **CPU, **FEW),
        **mixed("bank", SMALL_LLAMA, dtype=torch.float32, stored=torch.float32),
    },
    "compiled": {"encoder_4_layers_compiled": roberta(768, 4, 8, 64, **CPU, compiled=True)},
    "full": {
        "layer_roberta_large": Layer(1024, 16384, torch.bfloat16),
        "layer_llama_7b": Layer(4096, 8192, torch.bfloat16),
        "roberta_base": roberta(768, 12, 32, 512),
        "roberta_large": roberta(1024, 24, 32, 512),
        "vit_large": WholeModel(AutoModelForImageClassification, VIT_LARGE, 32, None, ("q_proj", "v_proj")),
        # q and v are parts of one projection, which PEFT adapts as a whole.
        "gpt2_medium": WholeModel(AutoModelForCausalLM, GPT2_MEDIUM, 8, 512, ("c_attn:q,v",)),
        "llama_7b": llama(4, 2048, 4096, 32, 11008),
        "llama_32_3b": llama(4, 256, 3072, 28, 8192, **LLAMA_32_3B),
        **mixed("bank_llama_7b", architectures.llama(4096, 32, 11008)),
    },
}

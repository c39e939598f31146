"""The cases of a bank in `make bench`: a step of a language model in which each row of the batch has its adapter."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

import fourierft

HELD = 64, 8, 512, 1, 4096  # numbers of adapters, in the order in which they are measured: goals first
Forward = Callable[..., Tensor]  # (model, rows=all of them, **more arguments of the model) -> logits of the last token


@dataclass(frozen=True)
class Mixed:
    """A step for `rows` sequences that name as many of the adapters as they can.

    decode: a step is one token a row after `length` of them in the key-value cache; else it is a prefill, of `length`
    tokens. stored: dtype of a bank's numbers on the device; LoRA's have the dtype of the model.
    """

    config: LlamaConfig
    adapters: int
    decode: bool
    dtype: torch.dtype = torch.bfloat16
    stored: torch.dtype = torch.float16
    rows: int = 64
    length: int = 64
    n: int = 1000

    @property
    def description(self) -> str:
        config, kept = self.config, f"after {self.length} each" if self.decode else "without a cache"
        model = f"{config.model_type}, {config.num_hidden_layers} layers of width {config.hidden_size}"
        precision = f"{self.dtype}, a bank of {self.stored}".replace("torch.", "")
        named = f"which name {self.distinct} of {self.adapters} adapters of q and v, {precision}"
        return f"{self.phase} with {model}: {self.tokens} tokens in {self.rows} rows {kept}, {named}"

    @property
    def phase(self) -> str:
        return "decode" if self.decode else "prefill"

    @property
    def tokens(self) -> int:
        """Of all rows in a step."""
        return self.rows * (1 if self.decode else self.length)

    @property
    def distinct(self) -> int:
        """How many adapters a step names."""
        return min(self.rows, self.adapters)

    def named(self, step: int) -> list[str]:
        """The adapter of each row: spread over all that are held, others in the next step."""
        apart = self.adapters // self.distinct
        return [str((step + row % self.distinct * apart) % self.adapters) for row in range(self.rows)]

    def adapter(self, entries: str) -> fourierft.FourierConfig:
        """The configuration of all adapters, with this kind of positions."""
        return fourierft.FourierConfig(n=self.n, scale=20.0, targets=("q_proj", "v_proj"), entries=entries)

    def build(self, device: str) -> tuple[nn.Module, Forward, None]:
        """The model, and its step for all rows or for those of one adapter; the cache is the same before each."""
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(self.config, dtype=self.dtype).eval()
            inputs = {rows: self._inputs(model, rows) for rows in {self.rows, self.rows // self.distinct}}

        @torch.no_grad()
        def forward(model: nn.Module, rows: int = self.rows, **more: Any) -> Tensor:
            ids, cache = inputs[rows]
            if cache is not None:  # its layers put longer tensors in the place of theirs: into copies
                cache = copy.copy(cache)
                cache.layers = list(map(copy.copy, cache.layers))
            return model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **more).logits

        return model, forward, None

    @torch.no_grad()
    def _inputs(self, model: nn.Module, rows: int) -> tuple[Tensor, Any]:
        ids = torch.randint(self.config.vocab_size, (rows, self.length))
        if not self.decode:
            return ids, None
        return ids[:, -1:].clone(), model(ids, use_cache=True, logits_to_keep=1).past_key_values


def mixed(prefix: str, config: LlamaConfig, **options: Any) -> dict[str, Mixed]:
    """The cases of a model by name, PREFIX_64_decode and so on."""
    made = [Mixed(config, held, decode, **options) for held in HELD for decode in (True, False)]
    return {f"{prefix}_{case.adapters}_{case.phase}": case for case in made}

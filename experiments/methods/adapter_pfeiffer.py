"""The adapter of Pfeiffer et al. 2021 (arXiv:2005.00247), `Adpt-P` of the tables: one in every layer.

It follows feed-forward, and reads the sum s of its output and the residual through the layer's frozen norm, which then
serves again: norm(s + adapter(norm(s))); ReLU. So it stands in the code behind the LoRA paper's rows, which the paper
repeats (microsoft/LoRA, examples/NLU, modeling_roberta.py).
"""

from typing import Any, Literal

from torch import Tensor, nn

from experiments.methods.bottleneck import Adapter


class AdapterPfeiffer(Adapter):
    """One adapter a layer."""

    name: Literal["adapter_pfeiffer"]

    def insert(self, model: nn.Module) -> None:
        for host in self.hosts(model, "norm"):
            self.attach(model, host, before_norm, "relu")


def before_norm(norm: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """norm(s + adapter(norm(s))), given norm(s)."""
    return norm.forward(inputs[0] + norm.adapter(output))

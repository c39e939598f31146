"""The adapter of Houlsby et al. 2019 (arXiv:1902.00751), `Adpt-H` of the tables: two in every layer.

Each follows attention or feed-forward, before the residual sum; swish, with its own residual connection. So it stands
in the code behind the LoRA paper's rows, which the paper repeats (microsoft/LoRA, examples/NLU, modeling_roberta.py);
Houlsby et al. also train every layer norm, those rows do not.
"""

from typing import Literal

from torch import nn

from experiments.methods.bottleneck import Adapter, residual


class AdapterHoulsby(Adapter):
    """Two adapters a layer."""

    name: Literal["adapter_houlsby"]

    def insert(self, model: nn.Module) -> None:
        for place in ("attention", "feed_forward"):
            for host in self.hosts(model, place):
                self.attach(model, host, residual, "silu")

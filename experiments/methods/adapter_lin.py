"""The adapter of Lin et al. 2020 (arXiv:2004.03829), `Adapter-L` of the LoRA paper's GPT-2 table, `Adpt-L` of Table 3.

One behind every layer, on the residual stream h, with a layer norm of its own that trains too:
h + up(ReLU(down(norm(h)))). So an adapter has 2 d r + r + 3 d parameters, as the LoRA paper counts (its section 5.1).
"""

from typing import Literal

from torch import nn

from experiments.methods.bottleneck import Adapter, residual


class AdapterLin(Adapter):
    """One adapter a layer, behind a norm."""

    name: Literal["adapter_lin"]

    def insert(self, model: nn.Module) -> None:
        for host in self.hosts(model, "layer"):
            self.attach(model, host, residual, "relu", norm=True)

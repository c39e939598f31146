"""AdapterDrop (Rueckle et al. 2021, arXiv:2010.11918), `Adpt-D` of the tables: none in the `drop` lowest layers.

Their specialised form, with the same layers left out in training and inference, on the adapter of Pfeiffer et al.;
backward stops at the lowest adapter. Which layers the rows of the table keep is not published.
"""

from typing import Literal

from pydantic import NonNegativeInt
from torch import nn

from experiments.errors import UserError
from experiments.methods.adapter_pfeiffer import before_norm
from experiments.methods.bottleneck import Adapter


class AdapterDrop(Adapter):
    """One adapter in every layer but the lowest."""

    name: Literal["adapter_drop"]
    drop: NonNegativeInt

    def insert(self, model: nn.Module) -> None:
        hosts = self.hosts(model, "norm")
        if self.drop >= len(hosts):
            raise UserError(
                f"method.drop={self.drop}: the model has {len(hosts)} layers; leave at least one its adapter"
            )
        for host in hosts[self.drop :]:
            self.attach(model, host, before_norm, "relu")

"""Low-rank pairs beside a linear layer or beside parts of a fused projection: y = W x + (alpha / b) B[:, :b] A[:b] x.

LoRA (Hu et al. 2021) with b = r on the q and v of a fused projection, each a pair of its own as in their code
(`enable_lora`): peft adapts the fused matrix as one, which is another method. DyLoRA draws b anew at every step.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from experiments.errors import UserError
from experiments.methods.trained import matched
from fourierft import dense_shape, part_rows


class LowRank(nn.Module):
    """`base`, frozen, and a pair A (r, in), B (out, r) for each part, or for the whole layer where `parts` is empty.

    A starts as in nn.Linear, B at zero, both in float32. `rank`: the b of training; in evaluation all r count.
    `frozen`: a step trains row b of A and column b of B alone.
    """

    def __init__(self, base: nn.Module, parts: tuple[str, ...], r: int, alpha: float, dropout: float, frozen: bool):
        super().__init__()
        out, width = dense_shape(base)
        self.base, self.alpha, self.frozen = base, alpha, frozen
        self.r = self.rank = r
        self.dropout = nn.Dropout(dropout)
        self.rows = part_rows((out, width), parts)
        like = {"device": base.weight.device, "dtype": torch.float32}
        self.lora_A = nn.ParameterList(torch.empty(r, width, **like) for _ in self.rows)
        self.lora_B = nn.ParameterList(torch.zeros(rows.stop - rows.start, r, **like) for rows in self.rows.values())
        for A in self.lora_A:
            nn.init.kaiming_uniform_(A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) to y (..., out), in the dtype of `base`'s output."""
        b = self.rank if self.training else self.r
        y = self.base(x)
        x = self.dropout(x.to(self.lora_A[0].dtype))
        for rows, A, B in zip(self.rows.values(), self.lora_A, self.lora_B, strict=True):
            A, B = A[:b], B[:, :b]
            if self.frozen and self.training:
                A = torch.cat([A[:-1].detach(), A[-1:]])
                B = torch.cat([B[:, :-1].detach(), B[:, -1:]], dim=1)
            y[..., rows].add_((self.alpha / b * (x @ A.T @ B.T)).to(y.dtype))
        return y


def insert(model: nn.Module, attention: tuple[str, ...], **settings) -> None:
    """Put a LowRank in the place of every layer called `attention`. Raises UserError where there is none."""
    for target in attention:
        modules, parts = matched(model, target)
        linear = {path: module for path, module in modules.items() if dense_shape(module)}
        if not linear:
            raise UserError(f"model.attention={target}: {type(model).__name__} has no linear layer of that name")
        for path, module in linear.items():
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, LowRank(module, parts, **settings))


def delta_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Path, or path:part, and delta_W (out, in), at full rank and detached, of every adapted matrix."""
    for path, layer in model.named_modules():
        if isinstance(layer, LowRank):
            for part, A, B in zip(layer.rows, layer.lora_A, layer.lora_B, strict=True):
                yield f"{path}:{part}" if part else path, (layer.alpha / layer.r * (B @ A)).detach()

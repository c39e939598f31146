"""The query and value matrices of a model, found by the names of its layers."""

import re
from collections import Counter
from typing import Literal

from torch import nn
from transformers.pytorch_utils import Conv1D

from experiments.errors import UserError
from experiments.models.heads import is_head

QUERY = re.compile(r"(?<![a-z])q(uery)?(?![a-z])")  # query, q_proj, query_proj, q_lin, to_q, q
FUSED = ("qkv", "Wqkv", "qkv_proj", "c_attn")  # q, k and v one below the other in one matrix
INTERLEAVED = ("query_key_value", "in_proj")  # ... head by head: adapted as a whole


def found(
    model: nn.Module, attention: tuple[str, ...] | Literal["auto"], head: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The names of the layers to adapt, as `Method.adapt` takes them: `attention`, or with "auto" those outside of
    `head` that make queries and values.

    Where several pairs are there, that of which there are most. Where one matrix makes q, k and v: its parts q and v if
    these are thirds, else the whole.
    Raises UserError, listing the linear layers, where no name tells.
    """
    if attention != "auto":
        return attention
    linear = {p: m for p, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D) and not is_head(p, head)}
    names = Counter(path.rpartition(".")[2] for path in linear)
    for query, _ in names.most_common():
        value = QUERY.sub(lambda found: "value" if found[1] else "v", query)
        if value != query and value in names:
            return query, value
    for fused in (*FUSED, *INTERLEAVED):
        if fused in names:
            layers = [module for path, module in linear.items() if path.rpartition(".")[2] == fused]
            return (f"{fused}:q,v" if fused in FUSED and all(map(_in_thirds, layers)) else fused,)
    listed = ", ".join(f"{name} ({count})" for name, count in names.most_common()) or "none"
    raise UserError(
        f"model.attention=auto: {type(model).__name__} has no layers that are called query and value; name what to "
        f"adapt, model.attention=[...], of its linear layers: {listed}"
    )


def _in_thirds(layer: nn.Module) -> bool:
    long, short = sorted(layer.weight.shape, reverse=True)
    return long == 3 * short

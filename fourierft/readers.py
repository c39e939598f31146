"""Who takes the weight of a layer instead of calling it: the change of an adapter, made in the call, is lost on them.

Fused kernels of state-space models take the weights of their projections, some attentions those of q, k and v. Whether
a module does stands in the source of its methods, as `self.<layer>.weight`. What no source shows (the weight by another
name) `fourierft.check_gradients` tells of in training.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable

from torch import nn

# Methods here may: a hook of the adapted layer (`layer.py`) keeps nn.TransformerEncoderLayer from it, and BLOOM slices
# its weights only where config.pretraining_tp is above 1 and slow_but_exact is set.
EXEMPT = ("torch.nn.modules.transformer", "transformers.models.bloom.modeling_bloom")
# What may be asked of a weight without its numbers; and what ends in "_" changes them in place.
HARMLESS = ("dtype", "device", "shape", "size", "ndim", "dim", "numel", "requires_grad", "grad", "data")


@functools.cache
def reader(owner: type[nn.Module], layer: str) -> str | None:
    """The method of the class `owner` that reads the weight of its `layer`, as "MambaMixer.forward"; or None."""
    for name in dir(owner):
        method = inspect.unwrap(inspect.getattr_static(owner, name))
        if (
            inspect.isfunction(method)
            and method.__module__ not in EXEMPT
            and {layer, "weight"} <= set(method.__code__.co_names)
            and not any(word in name for word in ("init", "reset"))  # they set weights that are adapted later
            and _reads(method, layer)
        ):
            return f"{owner.__name__}.{name}"
    return None


def _reads(method: Callable, layer: str) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    except (OSError, SyntaxError):  # its source is not at hand
        return False
    within = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and ast.unparse(node) == f"self.{layer}.weight"
        and not _is_harmless(within[node])
        for node in ast.walk(tree)
    )


def _is_harmless(use: ast.AST) -> bool:
    if isinstance(use, ast.Attribute):
        return use.attr in HARMLESS or use.attr.endswith("_")
    return isinstance(use, ast.Call) and ast.unparse(use.func) in ("isinstance", "hasattr", "id")

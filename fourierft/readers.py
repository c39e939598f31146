"""Finds modules that read the weight of a layer instead of calling it, where an adapter would have no effect.

Fused kernels of state-space models read the weights of their projections, some attentions those of q, k and v. The
source of the module's methods then contains `self.<layer>.weight`. Weights that are read under another name are found
in training, by `fourierft.check_gradients`.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable

from torch import nn

# Exceptions: a hook of the adapted layer (`layer.py`) keeps nn.TransformerEncoderLayer from reading its weight, and
# BLOOM slices its weights only if config.pretraining_tp is above 1 and slow_but_exact is set.
EXEMPT = ("torch.nn.modules.transformer", "transformers.models.bloom.modeling_bloom")
# Attributes that do not depend on the values of a weight; those that end in "_" set the values.
HARMLESS = ("dtype", "device", "shape", "size", "ndim", "dim", "numel", "requires_grad", "grad", "data")


@functools.cache
def reader(owner: type[nn.Module], layer: str) -> str | None:
    """The method of the class `owner` that reads the weight of `layer`, such as "MambaMixer.forward", or None."""
    for name in dir(owner):
        method = inspect.unwrap(inspect.getattr_static(owner, name))
        if (
            inspect.isfunction(method)
            and method.__module__ not in EXEMPT
            and {layer, "weight"} <= set(method.__code__.co_names)
            and not any(word in name for word in ("init", "reset"))  # they initialise weights
            and _reads(method, layer)
        ):
            return f"{owner.__name__}.{name}"
    return None


def _reads(method: Callable, layer: str) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    except (OSError, SyntaxError):  # no source available
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

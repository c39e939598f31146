"""Finds the layers of a model that a configuration adapts, and its heads, and checks that they can be adapted."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from .config import FourierConfig
from .errors import FourierError
from .layer import FourierLayer, check_replaceable
from .linear import dense_shape
from .parts import matches, matrix_shape, split_target
from .quantized import quantized_shape
from .readers import reader

# The preset of PEFT for `FourierConfig.targets`, which `adapt` replaces by what `all_linear` lists.
ALL_LINEAR = "all-linear"
# The fused projection of BLOOM, Falcon and GPT-NeoX: q, k and v alternate head by head.
INTERLEAVED = "query_key_value"
# Names that wrappers inside a model add to its paths: compiled modules, FSDP, activation checkpoints.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
WHOLE_WRAPPERS = (DataParallel, DistributedDataParallel, AveragedModel)


def modules_by_path(model: nn.Module) -> dict[str, nn.Module]:
    """The modules by their paths without wrappers; "" is the model itself."""
    return {without_wrappers(path): module for path, module in model.named_modules()}


def without_wrappers(path: str) -> str:
    """The path of a module, or of a tensor, without the names of wrappers inside the model."""
    return ".".join(name for name in path.split(".") if name not in WRAPPERS)


def all_linear(model: nn.Module, head: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The paths of all linear layers of a plain model that can be adapted, in its order, for any method: `nn.Linear`,
    `Conv1D` and bitsandbytes' layers, outside the modules that `head` names (as in FourierConfig).

    Left out are the output embedding (that of `get_output_embeddings`), as PEFT does, and layers whose weight another
    module reads instead of calling them, such as x_proj of Mamba, or out_proj of nn.MultiheadAttention.
    Raises FourierError if the model is adapted already or wrapped, a head matches no module, or nothing is left.
    """
    _check_plain(model)
    embeds = [module for module in model.modules() if hasattr(module, "get_output_embeddings")]
    outputs = {module.get_output_embeddings() for module in embeds}  # type: ignore[operator]  # is a method
    candidates = _outside(model, select_heads(model, head))
    linear = {path: module for path, module in candidates.items() if _shape(module) and module not in outputs}
    taken = _taken(model, linear)
    if not linear.keys() - taken.keys():
        raise FourierError(f"this {type(model).__name__} has no linear layer to adapt outside the head {head!r}")
    return tuple(path for path in linear if path not in taken)


def resolve(model: nn.Module, config: FourierConfig) -> FourierConfig:
    """The configuration with "all-linear" replaced by the paths that `all_linear` lists, or by a regular expression of
    them where one is also the end of another module's path, as "0" is of "1.0".
    """
    if config.targets != ALL_LINEAR:
        return config
    paths = all_linear(model, config.head)
    others = modules_by_path(model).keys() - paths
    if not any(matches(path, other) for path in paths for other in others):
        return replace(config, targets=paths)
    return replace(config, targets="|".join(map(re.escape, paths)))


def select(model: nn.Module, config: FourierConfig) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """The layers to adapt and the head modules, by path. Raises what `adapt` raises; changes nothing."""
    _check_plain(model)
    heads = select_heads(model, config.head)
    candidates = _outside(model, heads)
    linear = {path.rsplit(".", 1)[-1] for path, module in candidates.items() if _shape(module)}
    targets = config.targets
    for name in () if isinstance(targets, str) else (split_target(target)[0] for target in targets):
        if not any(matches(name, path) for path in candidates):
            _refuse_name("targets", name, candidates, f"; linear layers end in: {_listed(linear)}")
    parts_of = {path: config.parts_of(path) for path in candidates}
    layers = {path: module for path, module in candidates.items() if parts_of[path] is not None}
    if not layers:
        raise FourierError(
            f"targets={targets!r} matches no module's whole path; linear layers end in: {_listed(linear)}"
        )
    used = {key for path in layers for key in config.keys_of(path)}
    for key in dict(config.n_pattern).keys() - used:
        _refuse_name("n_pattern", key, layers, "; it has to match an adapted one")
    compiled = [module._modules.get("_orig_mod") for module in model.modules()]
    for k, (path, module) in enumerate(layers.items()):
        shape, parts = _shape(module), parts_of[path] or ()
        if module in compiled:
            raise FourierError(f"{path} is compiled by itself and would run as before: adapt first, then compile")
        if shape is None:
            raise FourierError(
                f"targets={targets!r} matches {path}, a {type(module).__name__}, but only nn.Linear, Conv1D and "
                "bitsandbytes' linear layers can be adapted: choose a name that ends in such a layer"
            )
        try:
            if parts and quantized_shape(module):
                raise FourierError(f"parts of a {type(module).__name__} cannot be adapted: name the whole layer")
            if parts and path.rsplit(".", 1)[-1] == INTERLEAVED:
                raise FourierError(
                    "q, k and v alternate head by head in this layer: it cannot be cut in three; name it whole"
                )
            config.entries_of(k, path).check(matrix_shape(shape, parts))
            check_replaceable(module)
        except FourierError as error:
            raise FourierError(f"{path}: {error}") from None
    for path, method in _taken(model, layers).items():
        raise FourierError(
            f"{path} cannot be adapted: {method} reads its weight instead of calling it, and would not see the change; "
            "leave it out of the targets"
        )
    return layers, heads


def _check_plain(model: nn.Module) -> None:
    if any(isinstance(module, FourierLayer) for module in model.modules()):
        raise FourierError("the model is adapted already: start from the plain model, or fourierft.load into this one")
    if isinstance(model, WHOLE_WRAPPERS) or "_fsdp_wrapped_module" in model._modules:
        name = type(model).__name__
        raise FourierError(f"the model is inside a {name}: adapt, or load into, its .module, and wrap that afterwards")


def _outside(model: nn.Module, heads: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """The modules that are neither a head, nor within one, nor the model itself."""
    return {
        path: module
        for path, module in modules_by_path(model).items()
        if path and not any(path == head or path.startswith(head + ".") for head in heads)
    }


def _taken(model: nn.Module, layers: dict[str, nn.Module]) -> dict[str, str]:
    """Those of the layers whose weight another module reads, where an adapter would have no effect; by what method."""
    paths = {layer: path for path, layer in layers.items()}
    return {
        paths[child]: method
        for owner in model.modules()
        for name, child in owner.named_children()
        if child in paths and (method := reader(type(owner), name))  # type: ignore[arg-type]  # is hashable
    }


def select_heads(model: nn.Module, names: tuple[str, ...]) -> dict[str, nn.Module]:
    """The modules that stay trainable, by path. Raises FourierError for a name that matches no module."""
    modules = {path: module for path, module in modules_by_path(model).items() if path}
    for name in names:
        if not any(matches(name, path) for path in modules):
            _refuse_name("head", name, modules)
    return {path: module for path, module in modules.items() if any(matches(name, path) for name in names)}


def _shape(module: nn.Module) -> tuple[int, int] | None:
    return dense_shape(module) or quantized_shape(module)


def _refuse_name(field: str, name: str, modules: dict[str, nn.Module], more: str = "") -> None:
    ends = {path.rsplit(".", 1)[-1] for path in modules}
    raise FourierError(f"{field}: {name!r} matches no module{nearest(name, sorted(ends) + sorted(modules))}{more}")


def nearest(name: str, among: Sequence[str]) -> str:
    """The end of a message about an unknown name: ", the nearest are ...", if any are near."""
    near = get_close_matches(name, among, n=3, cutoff=0.5)
    return f", the nearest are {_listed(near)}" if near else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

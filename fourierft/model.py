"""Adapt a model: find the layers a configuration means, replace them, merge them, count what is trained."""

import math
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from re import fullmatch

import torch
from torch import Tensor, nn

from .config import FourierConfig
from .entries import check_n
from .errors import FourierError
from .linear import LOW_PRECISION, FourierLinear, layer_shape


@dataclass(frozen=True)
class Count:
    """Exact sizes of an adapted model, in parameters; `adapter_bytes` at four bytes a coefficient, as in the paper."""

    adapter: int
    head: int
    total: int

    @property
    def adapter_bytes(self) -> int:
        return 4 * self.adapter


def adapt(model: nn.Module, config: FourierConfig) -> nn.Module:
    """Freezes the model, but for `config.head`, and turns every layer that `config.targets` means into a FourierLinear.

    The parameters of the layers keep their names. The coefficients come from the global torch generator, in the order
    of the model. Returns the same model, which keeps the configuration as `model.fourierft_config`.
    Raises FourierError, with the model unchanged, if it is adapted already, a name matches nothing, a match is not a
    linear layer, or n does not fit a layer. Warns if delta_W starts out half as large as a layer's weights, or larger.
    """
    layers, heads = select(model, config)
    insert(model, config, layers, heads)
    for layer in fourier_layers(model).values():
        layer.reset_spectrum(config.init)
    if config.init == "normal":
        _warn_if_large(fourier_layers(model))
    return model


def fourier_layers(model: nn.Module) -> dict[str, FourierLinear]:
    """The adapted layers by their path in the model, in its order."""
    return {path: module for path, module in model.named_modules() if isinstance(module, FourierLinear)}


def adapted_layers(model: nn.Module) -> dict[str, FourierLinear]:
    """`fourier_layers` of a model that has some. Raises FourierError of any other."""
    layers = fourier_layers(model)
    if not layers:
        raise FourierError(f"this {type(model).__name__} has no FourierFT layer: call fourierft.adapt or .load")
    return layers


def merge(model: nn.Module) -> nn.Module:
    """Adds each delta_W to its weight, so that the model runs as the plain one. Layers merged already stay as they are.

    The frozen weights are kept aside for `unmerge`. Raises FourierError, with nothing merged, if a sum is not finite.
    Warns, once, if weights of low precision lose part of delta_W.
    """
    merged = {}
    for path, layer in adapted_layers(model).items():
        if layer.merged:
            continue
        try:
            merged[path] = layer, *layer.merged_weight()
        except FourierError as error:
            raise FourierError(f"{path}: {error}") from error
    for layer, weight, _ in merged.values():
        layer.set_merged(weight)

    lossy = {path: lost for path, (_, weight, lost) in merged.items() if weight.dtype in LOW_PRECISION}
    if lossy:
        worst = max(lossy, key=lossy.get)
        warnings.warn(
            f"merging into {merged[worst][1].dtype} rounds away part of delta_W: {100 * lossy[worst]:.1f} % of it "
            f"(relative norm) in {worst}, the worst of {len(lossy)} layers; merge into a float32 model to keep it",
            stacklevel=2,
        )
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Restores the frozen weights of `merge`, bit for bit."""
    for layer in adapted_layers(model).values():
        layer.unmerge()
    return model


def delta_weights(model: nn.Module) -> dict[str, Tensor]:
    """delta_W of every adapted layer by its path: (out, in), float32, detached."""
    return {path: layer.delta_weight().float() for path, layer in adapted_layers(model).items()}


def count(model: nn.Module) -> Count:
    """Counts coefficients, the other trainable parameters, and all parameters; each shared parameter once."""
    adapter = {layer.fourierft_spectrum for layer in fourier_layers(model).values()}
    head = (p for p in model.parameters() if p.requires_grad and p not in adapter)
    return Count(
        adapter=sum(p.numel() for p in adapter),
        head=sum(p.numel() for p in head),
        total=sum(p.numel() for p in model.parameters()),
    )


def select(model: nn.Module, config: FourierConfig) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """The layers to adapt and the head modules, by path. Raises what `adapt` raises; changes nothing."""
    if fourier_layers(model):
        raise FourierError("the model is adapted already: start from the plain model, or fourierft.load into this one")
    heads = select_heads(model, config.head)
    candidates = {
        path: module
        for path, module in model.named_modules()
        if path and not any(path == head or path.startswith(head + ".") for head in heads)
    }
    linear = {path.rsplit(".", 1)[-1] for path, module in candidates.items() if layer_shape(module)}
    if isinstance(config.targets, str):
        layers = {path: module for path, module in candidates.items() if fullmatch(config.targets, path)}
        if not layers:
            raise FourierError(
                f"targets={config.targets!r} matches no module's whole path; linear layers end in: {_listed(linear)}"
            )
    else:
        for target in config.targets:
            if not any(means(target, path) for path in candidates):
                _refuse_name("targets", target, candidates, f"; linear layers end in: {_listed(linear)}")
        layers = {path: m for path, m in candidates.items() if any(means(target, path) for target in config.targets)}
    for path, module in layers.items():
        shape = layer_shape(module)
        if shape is None:
            raise FourierError(
                f"targets={config.targets!r} matches {path}, a {type(module).__name__}, but only nn.Linear and Conv1D "
                "can be adapted: choose a name that ends in such a layer"
            )
        try:
            check_n(shape, config.n, config.band)
        except FourierError as error:
            raise FourierError(f"{path}: {error}") from None
    return layers, heads


def select_heads(model: nn.Module, names: tuple[str, ...]) -> dict[str, nn.Module]:
    """The modules that stay trainable, by path. Raises FourierError for a name that matches none."""
    modules = {path: module for path, module in model.named_modules() if path}
    for name in names:
        if not any(means(name, path) for path in modules):
            _refuse_name("head", name, modules)
    return {path: module for path, module in modules.items() if any(means(name, path) for name in names)}


def insert(model: nn.Module, config: FourierConfig, layers: dict[str, nn.Module], heads: dict[str, nn.Module]) -> None:
    """Replaces the layers, wherever they stand, by FourierLinear with zero coefficients; freezes all but the heads."""
    model.requires_grad_(False)
    for head in heads.values():
        head.requires_grad_(True)
    replacement = {}
    for k, layer in enumerate(layers.values()):
        seed = config.entry_seed if config.shared_entries else config.entry_seed + k
        replacement[layer] = FourierLinear(layer, config.n, config.scale, seed, config.band)
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child in replacement:
                setattr(parent, name, replacement[child])
    model.fourierft_config = config


def means(name: str, path: str) -> bool:
    """PEFT's rule for module names: `name` is the whole path or its end after a dot."""
    return path == name or path.endswith("." + name)


def _refuse_name(field: str, name: str, modules: dict[str, nn.Module], more: str = "") -> None:
    ends = {path.rsplit(".", 1)[-1] for path in modules}
    near = get_close_matches(name, sorted(ends) + sorted(modules), n=3, cutoff=0.5)
    hint = f", the nearest are {_listed(near)}" if near else ""
    raise FourierError(f"{field}: {name!r} matches no module{hint}{more}")


def _listed(names) -> str:
    return ", ".join(sorted(names)) or "none"


def _warn_if_large(layers: dict[str, FourierLinear]) -> None:
    """delta_W starts with standard deviation scale sqrt(n / 2) / (out in); as large as W, it drowns what W knows."""
    ratios = {}
    for path, layer in layers.items():
        if layer.weight.is_meta:
            continue
        delta = layer.scale * math.sqrt(layer.n / 2) / (layer.out_features * layer.in_features)
        weight = float(torch.std(layer.weight.detach().float()))
        if weight > 0:
            ratios[path] = delta / weight, delta, weight
    if not ratios:
        return
    path = max(ratios, key=lambda path: ratios[path][0])
    ratio, delta, weight = ratios[path]
    if ratio >= 0.5:
        warnings.warn(
            f"delta_W starts out {ratio:.2g} times as large as the weight of {path}, the worst layer: standard "
            f"deviation {delta:.2g} against {weight:.2g}; scale={layers[path].scale * 0.1 / ratio:.2g} would make it "
            "a tenth",
            stacklevel=3,
        )

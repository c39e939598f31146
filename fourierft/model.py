"""Adapt a model: replace its layers, set how they compute, merge them, count what is trained."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from .choice import Algorithm
from .config import FourierConfig
from .errors import FourierError
from .layer import FourierLayer
from .linear import FourierLinear
from .quantized import QuantizedFourierLinear, quantized_shape
from .scale import set_scales
from .targets import modules_by_path, resolve, select, without_wrappers
from .wide import LOW_PRECISION


@dataclass(frozen=True)
class Count:
    """Numbers of parameters of an adapted model; `adapter_bytes` at four bytes per coefficient, as in the paper."""

    adapter: int
    head: int
    total: int

    @property
    def adapter_bytes(self) -> int:
        return 4 * self.adapter


def adapt(model: nn.Module, config: FourierConfig) -> nn.Module:
    """Freezes the model, except `config.head`, and replaces the layers that `config.targets` matches by FourierLinear
    (layers of bitsandbytes by QuantizedFourierLinear).

    Their parameters keep their names, and the hooks of their calls, accelerate's placement included, are moved. The
    coefficients are drawn from the global torch generator, in the order of the model. Returns the same model, with the
    configuration as `model.fourierft_config`, in which targets="all-linear" has become the paths of the layers, and
    scale="auto" the number of the file; the layers may have multiples of it (`scale.py`): to adapt another model alike,
    give `config` again.
    Raises FourierError, with the model unchanged, if it is adapted already, a name matches no module, a match is not a
    linear layer, n does not fit a layer, or the adapter would have no effect: a weight is read without calling the
    layer, made from other tensors (weight_norm, pruning) or offloaded, or a forward is replaced on the instance.
    Warns if the initial delta_W is at least half as large as the weight of a layer.
    """
    config = resolve(model, config)
    name = config.base_model or getattr(model, "name_or_path", None)
    config = replace(config, base_model=name or None)  # that of a model made without weights is empty
    layers, heads = select(model, config)
    insert(model, config, layers, heads)
    for layer in fourier_layers(model).values():
        layer.reset_spectrum(config.init)
    if config.init == "normal":
        _warn_if_large(fourier_layers(model))
    return model


def fourier_layers(model: nn.Module) -> dict[str, FourierLayer]:
    """The adapted layers by path, in the order of the adapted model, also if `model` wraps or contains that."""
    configured = _configured(model)
    modules = modules_by_path(configured[0] if len(configured) == 1 else model)
    return {path: module for path, module in modules.items() if isinstance(module, FourierLayer)}


def adapted_layers(model: nn.Module) -> dict[str, FourierLayer]:
    """`fourier_layers`. Raises FourierError if there are none, or if they are a bank's."""
    layers = fourier_layers(model)
    if not layers:
        raise FourierError(f"this {type(model).__name__} has no FourierFT layer: call fourierft.adapt or .load")
    if any(layer.of_rows is not None for layer in layers.values()):
        raise FourierError(f"this {type(model).__name__} has a fourierft.Bank, which adds and saves its adapters")
    return layers


def adapted_model(model: nn.Module) -> nn.Module:
    """The model that `adapt` or `load` was given: this one, or one that it wraps (compiled, DDP, FSDP, an average of
    weights) or contains. Raises FourierError for a plain model, a part of an adapted one, or several adapted ones.
    """
    adapted_layers(model)
    configured = _configured(model)
    if len(configured) != 1:
        raise FourierError(
            f"this {type(model).__name__} has FourierFT layers, but {len(configured)} models in it are configured: "
            "give the one that fourierft.adapt or .load was given"
        )
    return configured[0]


def config_of(model: nn.Module) -> FourierConfig:
    """The configuration of an adapted model."""
    return vars(model)["fourierft_config"]


def _configured(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if "fourierft_config" in vars(module)]


def use(model: nn.Module, **settings: Any) -> nn.Module:
    """Sets how the adapted layers compute, by fields of `Algorithm`. Those not given stay unchanged.

        fourierft.use(model, memory="keep")
        fourierft.use(model, forward="tokens", gradient="tokens")

    Returns the model. Raises FourierError for an unknown field or value.
    """
    known = [field.name for field in fields(Algorithm)]
    for name in settings:
        if name not in known:
            raise FourierError(f"use: {name!r} is no setting: choose from {', '.join(known)}")
    algorithms = {layer: replace(layer.algorithm, **settings) for layer in adapted_layers(model).values()}
    for layer, algorithm in algorithms.items():
        layer.algorithm = algorithm
    return model


def merge(model: nn.Module) -> nn.Module:
    """Adds each delta_W to its weight, so that the model costs what the plain one does. Skips layers merged already.

    The frozen weights are kept for `unmerge`. State dicts then have the sums, and coefficients of shape (1, n), from
    which `load_state_dict` of an adapted model knows not to add delta_W twice.
    Raises FourierError, with nothing merged, if a sum is not finite.
    Warns, once, if weights of low precision lose part of delta_W.
    """
    layers = {path: layer for path, layer in adapted_layers(model).items() if not layer.merged}
    merged: dict[str, Tensor] = {}
    lost: dict[str, float] = {}
    for path, layer in layers.items():
        try:
            merged[path], share = layer.merged_weight()
        except FourierError as error:
            raise FourierError(f"{path}: {error}") from error
        if merged[path].dtype in LOW_PRECISION:
            lost[path] = share
    for path, layer in layers.items():
        layer.set_merged(merged[path])

    if lost:
        worst = max(lost, key=lambda path: lost[path])
        warnings.warn(
            f"merging into {merged[worst].dtype} rounds away part of delta_W: {100 * lost[worst]:.1f} % of it "
            f"(relative norm) in {worst}, the worst of {len(lost)} layers; merge into a float32 model to keep it",
            stacklevel=2,
        )
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Restores the frozen weights of `merge`, bit for bit."""
    for layer in adapted_layers(model).values():
        layer.unmerge()
    return model


def check_gradients(model: nn.Module) -> list[str]:
    """Warns of adapted layers whose coefficients have no gradient, and returns their paths.

    To be called after the first backward pass. A layer that the batch did not use, such as an expert of a mixture, may
    have none; any other is merged, or its weight is read without calling it, and will never train.
    """
    # Not a hook of autograd: it would not be called if no coefficient is reached, would be called after each
    # checkpointed part, and would be lost where sharding makes new parameters.
    missing = [
        path
        for path, layer in adapted_layers(model).items()
        if layer.fourierft_spectrum.requires_grad and layer.fourierft_spectrum.grad is None
    ]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        warnings.warn(
            f"no gradient reached the coefficients of {', '.join(missing[:3])}{more}: they do not train. If the batch "
            "uses the layer, it is merged (call fourierft.unmerge), or its weight is read without calling it (leave it "
            "out of the targets)",
            stacklevel=2,
        )
    return missing


def delta_weights(model: nn.Module) -> dict[str, Tensor]:
    """delta_W, (out, in) float32, detached, of every adapted matrix, by its path, or by `path:part` for a part."""
    return {
        f"{path}:{part}" if part else path: delta.float()
        for path, layer in adapted_layers(model).items()
        for part, delta in layer.delta_weights().items()
    }


def count(model: nn.Module) -> Count:
    """Counts the coefficients, the other trainable parameters, and all parameters; shared ones once."""
    adapter = {layer.fourierft_spectrum for layer in fourier_layers(model).values()}
    head = (p for p in model.parameters() if p.requires_grad and p not in adapter)
    return Count(
        adapter=sum(p.numel() for p in adapter),
        head=sum(p.numel() for p in head),
        total=sum(map(_numel, model.parameters())),
    )


def _numel(parameter: nn.Parameter) -> int:
    quantized = getattr(parameter, "quant_state", None)  # with 4 bits two numbers are stored in one
    return parameter.numel() if quantized is None else quantized.shape.numel()


def insert(
    model: nn.Module, config: FourierConfig, layers: Mapping[str, nn.Module], heads: Mapping[str, nn.Module]
) -> None:
    """Replaces the layers, wherever they occur, by adapted ones with zero coefficients; freezes all but the heads.

    The configuration that the model then has tells the scale as a number.
    """
    model.requires_grad_(False)
    for head in heads.values():
        _untie(model, head)
        head.requires_grad_(True)
    _keep_untied(model)
    vars(model)["fourierft_config"] = replace_layers(model, config, layers)


def replace_layers(model: nn.Module, config: FourierConfig, layers: Mapping[str, nn.Module]) -> FourierConfig:
    """The part of `insert` that replaces the layers. Returns the configuration, with the scale as a number."""
    replacement: dict[nn.Module, FourierLayer] = {}
    scale = 1.0 if config.scale == "auto" else config.scale
    for k, (path, layer) in enumerate(layers.items()):
        entries = config.entries_of(k, path)
        if quantized_shape(layer):
            replacement[layer] = QuantizedFourierLinear(layer, entries, scale)
        else:
            replacement[layer] = FourierLinear(layer, entries, scale, config.parts_of(path) or ())
    if config.scale == "auto":
        config = replace(config, scale=set_scales(list(replacement.values())))
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child in replacement:
                setattr(parent, name, replacement[child])
    return config


def _untie(model: nn.Module, head: nn.Module) -> None:
    """Gives the head its own copy of each parameter that it shares with the rest of the model, as PEFT does, so that an
    embedding tied to it stays frozen.
    """
    inside = set(head.modules())
    outside = {p for module in model.modules() if module not in inside for p in module._parameters.values()}
    copies: dict[nn.Parameter, nn.Parameter] = {}
    for module in inside:
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter in outside:
                copies.setdefault(parameter, nn.Parameter(parameter.detach().clone()))
                setattr(module, name, copies[parameter])


def _keep_untied(model: nn.Module) -> None:
    """Keeps transformers' `tie_weights` from tying again what is no longer one tensor. Its own switch, the
    configuration's `tie_word_embeddings`, also changes the forward pass of Switch Transformers and UDOP.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "get_expanded_tied_weights_keys"):
            tensors = {without_wrappers(k): p for k, p in module.named_parameters(remove_duplicate=False)}
            for name, pairs in (
                ("_tied_weights_keys", module.get_expanded_tied_weights_keys()),
                ("all_tied_weights_keys", module.all_tied_weights_keys),
            ):
                setattr(module, name, {a: b for a, b in pairs.items() if tensors.get(a) is tensors.get(b)})


def _warn_if_large(layers: Mapping[str, FourierLayer]) -> None:
    """Warns if delta_W, whose initial standard deviation is scale sqrt(n / 2) / (out in), is large compared to W."""
    found = []
    for path, layer in layers.items():
        if isinstance(layer, FourierLinear) and not layer.weight.is_meta:
            delta = layer.scale * math.sqrt(layer.entries.n / 2) / math.prod(layer.matrix_shape)
            weight = float(torch.std(layer.weight.detach().float()))
            if weight > 0:
                found.append((delta / weight, path, delta, weight))
    ratio, worst, delta, weight = max(found, default=(0.0, "", 0.0, 0.0))
    if ratio >= 0.5:
        scale = min(0.1 / share * layers[path].scale for share, path, *_ in found)
        warnings.warn(
            f"delta_W starts out {ratio:.2g} times as large as the weight of {worst}, the worst layer: standard "
            f"deviation {delta:.2g} against {weight:.2g}; scale={scale:.2g} would make it at most a tenth, "
            'init="zeros" nothing',
            stacklevel=3,
        )

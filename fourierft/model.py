"""Adapt a model: replace the layers a configuration means, say how they compute, merge them, count what is trained."""

import math
import warnings
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from .choice import Algorithm
from .config import FourierConfig
from .errors import FourierError
from .layer import FourierLayer
from .linear import FourierLinear
from .products import LOW_PRECISION
from .quantized import QuantizedFourierLinear, quantized_shape
from .targets import modules_by_path, parts_of, select, without_wrappers

# Of the algorithms: of "tokens" forward and of "fft" for the gradient.
FORMER_NAMES = {"branch": "tokens", "product": "fft"}


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
    """Freezes the model, but for `config.head`, and turns every layer that `config.targets` means into a FourierLinear
    (QuantizedFourierLinear, of a layer of bitsandbytes).

    The parameters of the layers keep their names. The coefficients come from the global torch generator, in the order
    of the model. Returns the same model, which keeps the configuration as `model.fourierft_config`.
    What is hooked into the call of a layer, accelerate's placement too, goes with it.
    Raises FourierError, with the model unchanged, if it is adapted already, a name matches nothing, a match is not a
    linear layer, n does not fit a layer, or the change would be lost: the weight is read past the layer's forward, made
    from other tensors (weight_norm, pruning) or offloaded, or the forward is replaced on the instance.
    Warns if delta_W starts out half as large as a layer's weights, or larger.
    """
    layers, heads = select(model, config)
    insert(model, config, layers, heads)
    for layer in fourier_layers(model).values():
        layer.reset_spectrum(config.init)
    if config.init == "normal":
        _warn_if_large(fourier_layers(model))
    return model


def fourier_layers(model: nn.Module) -> dict[str, FourierLayer]:
    """The adapted layers by their path in the adapted model, in its order, whatever wraps or holds that."""
    adapted = _configured(model)
    modules = modules_by_path(adapted[0] if len(adapted) == 1 else model)
    return {path: module for path, module in modules.items() if isinstance(module, FourierLayer)}


def adapted_layers(model: nn.Module) -> dict[str, FourierLayer]:
    """`fourier_layers` of a model that has some. Raises FourierError of any other."""
    layers = fourier_layers(model)
    if not layers:
        raise FourierError(f"this {type(model).__name__} has no FourierFT layer: call fourierft.adapt or .load")
    return layers


def adapted_model(model: nn.Module) -> nn.Module:
    """The model that `adapt` or `load` was given: this one, or the one that it wraps (compiled, DDP, FSDP, an average
    of weights) or holds. Raises FourierError of a plain model, a part of an adapted one, and one that holds several.
    """
    adapted_layers(model)
    adapted = _configured(model)
    if len(adapted) != 1:
        raise FourierError(
            f"this {type(model).__name__} has FourierFT layers, but {len(adapted)} models in it are configured: give "
            "the one that fourierft.adapt or .load was given"
        )
    return adapted[0]


def _configured(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if "fourierft_config" in vars(module)]


def use(model: nn.Module, **settings) -> nn.Module:
    """Sets how the adapted layers compute: fields of `Algorithm`, those not given stay as they are.

        fourierft.use(model, memory="keep")
        fourierft.use(model, forward="branch", gradient="tokens")

    Returns the model. Raises FourierError for an unknown field or value.
    """
    known = [field.name for field in fields(Algorithm)]
    for name in settings:
        if name not in known:
            raise FourierError(f"use: {name!r} is no setting: choose from {', '.join(known)}")
    for name in ("forward", "gradient"):
        if isinstance(settings.get(name), str):
            settings[name] = FORMER_NAMES.get(settings[name], settings[name])
    algorithms = {layer: replace(layer.algorithm, **settings) for layer in adapted_layers(model).values()}
    for layer, algorithm in algorithms.items():
        layer.algorithm = algorithm
    return model


def merge(model: nn.Module) -> nn.Module:
    """Adds each delta_W to its weight, so that the model runs as the plain one. Layers merged already stay as they are.

    The frozen weights are kept aside for `unmerge`. The state dict has the sums, and coefficients of shape (1, n), by
    which `load_state_dict` of an adapted model knows not to add delta_W twice.
    Raises FourierError, with nothing merged, if a sum is not finite.
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


def check_gradients(model: nn.Module) -> list[str]:
    """Warns of the adapted layers that no gradient has reached; returns their paths.

    To be called after the first backward pass. It is as it should be for a layer that the batch did not use, such as an
    expert of a mixture; else the layer is merged, or its weight is read past its forward, and will never train.
    """
    # A function and no hook of autograd: a hook hears of no backward pass that reaches none of the coefficients, takes
    # the end of a checkpointed part for the end of all, and stays behind where sharding makes new parameters.
    missing = [
        path
        for path, layer in adapted_layers(model).items()
        if layer.fourierft_spectrum.requires_grad and layer.fourierft_spectrum.grad is None
    ]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        warnings.warn(
            f"no gradient reached the coefficients of {', '.join(missing[:3])}{more}: they do not train. If the batch "
            "made use of the layer, it is merged (call fourierft.unmerge), or its weight is read instead of the layer "
            "called (leave it out of the targets)",
            stacklevel=2,
        )
    return missing


def delta_weights(model: nn.Module) -> dict[str, Tensor]:
    """delta_W, (out, in) float32, of every adapted matrix by its path; `path:part` is that of a part. Detached."""
    return {
        f"{path}:{part}" if part else path: delta.float()
        for path, layer in adapted_layers(model).items()
        for part, delta in layer.delta_weights().items()
    }


def count(model: nn.Module) -> Count:
    """Counts coefficients, the other trainable parameters, and all parameters; each shared parameter once."""
    adapter = {layer.fourierft_spectrum for layer in fourier_layers(model).values()}
    head = (p for p in model.parameters() if p.requires_grad and p not in adapter)
    return Count(
        adapter=sum(p.numel() for p in adapter),
        head=sum(p.numel() for p in head),
        total=sum(map(_numel, model.parameters())),
    )


def _numel(parameter: nn.Parameter) -> int:
    quantized = getattr(parameter, "quant_state", None)  # 4 bits: the stored tensor packs two numbers into one
    return parameter.numel() if quantized is None else quantized.shape.numel()


def insert(model: nn.Module, config: FourierConfig, layers: dict[str, nn.Module], heads: dict[str, nn.Module]) -> None:
    """Replaces the layers, wherever they stand, by adapted ones with zero coefficients; freezes all but the heads."""
    model.requires_grad_(False)
    for head in heads.values():
        _untie(model, head)
        head.requires_grad_(True)
    _keep_untied(model)
    replacement = {}
    for k, (path, layer) in enumerate(layers.items()):
        entries = config.entries_of(k)
        if quantized_shape(layer):
            replacement[layer] = QuantizedFourierLinear(layer, entries, config.scale)
        else:
            replacement[layer] = FourierLinear(layer, entries, config.scale, parts_of(config, path))
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child in replacement:
                setattr(parent, name, replacement[child])
    model.fourierft_config = config


def _untie(model: nn.Module, head: nn.Module) -> None:
    """Gives the head a copy of each parameter that it shares with the rest of the model, as PEFT does: an embedding
    that is tied to it stays frozen.
    """
    inside = set(head.modules())
    outside = {p for module in model.modules() if module not in inside for p in module._parameters.values()}
    copies = {}
    for module in inside:
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter in outside:
                copies.setdefault(parameter, nn.Parameter(parameter.detach().clone()))
                setattr(module, name, copies[parameter])


def _keep_untied(model: nn.Module) -> None:
    """Has transformers' `tie_weights` leave apart what is no longer one tensor. Its own switch, `tie_word_embeddings`
    of the configuration, changes the forward pass of some models: Switch Transformers and UDOP scale by it.
    """
    for module in model.modules():
        if hasattr(module, "get_expanded_tied_weights_keys"):
            tensors = {without_wrappers(k): p for k, p in module.named_parameters(remove_duplicate=False)}
            for name, pairs in (
                ("_tied_weights_keys", module.get_expanded_tied_weights_keys()),
                ("all_tied_weights_keys", module.all_tied_weights_keys),
            ):
                setattr(module, name, {a: b for a, b in pairs.items() if tensors.get(a) is tensors.get(b)})


def _warn_if_large(layers: dict[str, FourierLayer]) -> None:
    """delta_W starts with standard deviation scale sqrt(n / 2) / (out in); as large as W, it drowns what W knows."""
    ratios = {}
    for path, layer in layers.items():
        if not isinstance(layer, FourierLinear) or layer.weight.is_meta:
            continue
        delta = layer.scale * math.sqrt(layer.entries.n / 2) / math.prod(layer.matrix_shape)
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

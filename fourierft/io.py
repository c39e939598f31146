"""An adapter on disk, in PEFT's format: `adapter_config.json` (`document.py`) and `adapter_model.safetensors`.

PEFT loads what is saved here, and the other way round, trained heads included. A digest, which PEFT ignores, detects
damaged tensors.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from .config import FourierConfig
from .document import (
    CONFIG_FILE,
    EXTRAS,
    Document,
    extensions,
    identities,
    read_document,
    to_config,
    to_document,
    unreadable,
)
from .errors import FourierError
from .layer import FourierLayer
from .model import adapted_model, config_of, fourier_layers, insert
from .parts import matches, split_target
from .targets import modules_by_path, select, select_heads, without_wrappers

WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
AUTO = {"scale": "auto"}  # in the metadata: the layers have scales of their own, by the rule of `scale.py`
Shapes = dict[str, tuple[int, ...]]


def save(
    model: nn.Module,
    path: str | os.PathLike,
    peft: bool = False,
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the coefficients and the head of an adapted model into the folder `path`, which is created if missing.

    The model may be the one that `adapt` was given, or one that wraps it (compiled, DDP, FSDP, an average of weights)
    or contains it. If it is sharded by FSDP2, every process has to call this. state_dict: that of the model as `adapt`
    was given it, gathered, to take the tensors from where the model's own are sharded.

    Raises FourierError for a plain model, for coefficients on the meta device, sharded in another way or absent from
    state_dict, and, with peft=True, for settings that PEFT cannot express. Both files are complete on disk before
    either gets its name, so that a failed or killed save leaves the older adapter intact; OSError passes through.
    """
    model = adapted_model(model)
    config, layers = config_of(model), fourier_layers(model)
    if peft and (extended := extensions(config)):
        named = ", ".join(f"{field}={value!r}" for field, value in extended.items())
        raise FourierError(f"PEFT cannot express {named}: save without peft=True, for fourierft.load alone")
    transposed = any(getattr(layer, "fan_in_fan_out", False) for layer in layers.values())
    document = to_document(config, transposed, type(model))
    tensors = gathered(config, layers, select_heads(model, config.head), state_dict)
    factors = _factors(config, layers)
    for key, factor in factors.items():
        tensors[key] *= factor
    metadata = {"fourierft": identities(document)[0], "sha256": digest(tensors)} | (AUTO if factors else {})
    write(Path(path), document, tensors, metadata)


def load(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Loads the adapter in the folder `path`, written by `save` or by PEFT, into a plain or an adapted model.

    A plain model is adapted first. An adapted one, which may be wrapped or contained in another, must agree with the
    file in n, scale, positions, targets and head. Returns the model. Raises FourierError, with the model unchanged, for
    a missing, foreign or damaged file, keys or shapes that do not fit, and a model that is on the meta device or
    sharded. Damaged tensors are detected by the digest that `save` writes; PEFT writes none.
    """
    folder = Path(path)
    document = read_document(folder / CONFIG_FILE)
    stated = to_config(document, folder / CONFIG_FILE)
    tensors, metadata = read_weights(folder / WEIGHTS_FILE, document)
    adapted = adapted_model(model) if fourier_layers(model) else None
    config = narrowed(stated, adapted or model, tensors)
    layers: Mapping[str, nn.Module]
    if adapted:
        if merged := [path for path, layer in fourier_layers(adapted).items() if layer.merged]:
            raise FourierError(f"{merged[0]} is merged: call fourierft.unmerge before loading other coefficients")
        if different := differences(adapted, config_of(adapted), config):
            raise FourierError(f"{folder} does not fit the adapted model: {different}; load it into the plain one")
        layers, heads = fourier_layers(adapted), select_heads(adapted, config.head)
        _check_whole(_tensors(layers, {}), spectrum_shapes(config, layers))
    else:
        layers, heads = select(model, config)
    shapes = spectrum_shapes(config, layers)
    modules = {**layers, **heads}
    _check_real({f"{path}.{k}": p for path, module in modules.items() for k, p in module.named_parameters()})
    check_tensors(tensors, head_tensors(heads), shapes, folder / WEIGHTS_FILE)

    # Nothing below can fail.
    if not adapted:
        insert(model, replace(config, scale="auto") if AUTO.items() <= metadata.items() else config, layers, heads)
        layers = fourier_layers(model)
    for key, factor in _factors(config, layers).items():
        tensors[key] /= factor
    with torch.no_grad():
        for key, tensor in _tensors(layers, heads).items():
            tensor.copy_(tensors[key])
    return model


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256, in hex, of the name, dtype, shape and bytes of each tensor, sorted by name."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def gathered(
    config: FourierConfig,
    layers: Mapping[str, FourierLayer],
    heads: Mapping[str, nn.Module],
    state_dict: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Copies on the CPU of the coefficients and of the heads, by their keys in a file; of those in `state_dict`, if it
    is given.

    Raises FourierError for tensors that are on the meta device or absent from state_dict, and for coefficients that are
    sharded other than by FSDP2.
    """
    live = _tensors(layers, heads)
    if state_dict is not None:
        names = {key: key.removeprefix(PREFIX) for key in live}
        if absent := names.values() - state_dict.keys():
            raise FourierError(f"state_dict has no {min(absent)}: give that of the adapted model, gathered")
        live = {key: state_dict[name] for key, name in names.items()}
    _check_real(live)
    tensors = {key: _copy(tensor) for key, tensor in live.items()}
    _check_whole(tensors, spectrum_shapes(config, layers))
    return tensors


def spectrum_key(module: str) -> str:
    return f"{PREFIX}{module}.fourierft_spectrum"


def spectrum_shapes(config: FourierConfig, layers: Iterable[str]) -> Shapes:
    """The shapes of the coefficients of these layers by their keys in a file."""
    shapes = {path: (len(config.parts_of(path) or ()), config.n_of(path)) for path in layers}
    return {spectrum_key(path): (k, n) if k else (n,) for path, (k, n) in shapes.items()}


def _factors(config: FourierConfig, layers: Mapping[str, Any]) -> dict[str, float]:
    """The factor of the coefficients in a file, whose scale is the configuration's, for layers with another scale.

    Powers of two (`scale.py`), so that nothing is rounded.
    """
    factors = {spectrum_key(path): layer.scale / config.scale for path, layer in layers.items()}
    return {key: factor for key, factor in factors.items() if factor != 1}


def _check_real(tensors: dict[str, Tensor]) -> None:
    for path, tensor in tensors.items():
        if tensor.is_meta:
            raise FourierError(f"{path} is on the meta device, without values: give the model its weights first")


def _check_whole(tensors: dict[str, Tensor], shapes: Shapes) -> None:
    for key, shape in shapes.items():
        if tuple(tensors[key].shape) != shape or hasattr(tensors[key], "full_tensor"):
            raise FourierError(
                f"{key} is sharded: load before the model is sharded, and save with the parameters gathered, e.g. by "
                "FSDP.summon_full_params or deepspeed.zero.GatheredParameters"
            )


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU, since safetensors refuses tied tensors; a DTensor is gathered."""
    tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return tensor.detach().cpu().contiguous().clone()


def _tensors(layers: Mapping[str, Any], heads: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of an adapter by their keys in the file, sharing memory with the model."""
    return {spectrum_key(path): layer.fourierft_spectrum for path, layer in layers.items()} | head_tensors(heads)


def head_tensors(heads: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of the heads by their keys in the file, sharing memory with the model."""
    states = {path: head.state_dict() for path, head in heads.items()}
    return {f"{PREFIX}{path}.{name}": tensor for path, state in states.items() for name, tensor in state.items()}


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """The open safetensors file, mapped into memory. Raises FourierError if it is missing, unreadable or damaged."""
    try:
        with safe_open(file, framework="pt", device="cpu") as stored:
            yield stored
    except OSError as error:
        raise unreadable(file, error) from None
    except SafetensorError as error:
        raise FourierError(f"{file} is not a whole safetensors file ({error}): save the adapter again") from error


def read_weights(file: Path, document: Document) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of an adapter with this document, on the CPU, and the metadata. Raises FourierError, see `load`."""
    with opened(file) as stored:
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
        metadata = stored.metadata() or {}
    identity, sha256 = metadata.get("fourierft"), metadata.get("sha256")
    ours = identities(document)
    if identity is not None and identity not in ours:
        raise FourierError(
            f"{file} is of another save than {CONFIG_FILE}: n, scaling, seed, extras, targets and n by module are "
            f"{identity} in the one and {ours[0]} in the other; save the adapter again"
        )
    if sha256 is not None and sha256 != digest(tensors):
        raise FourierError(f"{file} is damaged: its tensors do not have the digest it states, {sha256}; save it again")
    return {without_wrappers(key): tensor for key, tensor in tensors.items()}, metadata


def narrowed(config: FourierConfig, model: nn.Module, keys: Iterable[str]) -> FourierConfig:
    """The configuration with the names that match this model, and the heads for which a file has these keys."""
    paths = [path for path in modules_by_path(model) if path]
    # By default PEFT lists names that a model may lack (`score` beside `classifier`).
    named = [name for name in config.head if any(matches(name, path) for path in paths)]
    # Its rule for heads requires no dot: `classifier` also matches `pre_classifier`, if there are tensors of it.
    extra = [
        path
        for path in paths
        if path.endswith(config.head)
        and not any(matches(name, path) for name in named)
        and any(key.startswith(f"{PREFIX}{path}.") for key in keys)
    ]
    targets = config.targets
    if isinstance(targets, tuple):
        targets = tuple(t for t in targets if any(matches(split_target(t)[0], path) for path in paths)) or targets
    return replace(config, targets=targets, head=tuple(named + extra))


def differences(model: nn.Module, ours: FourierConfig, theirs: FourierConfig) -> str:
    """What keeps an adapter of their configuration from a model, or a part of one, of ours; "" if nothing does."""
    different = []
    for field in ("n", "n_pattern", "scale", "entry_seed", "targets", "head", *EXTRAS):
        here, there = getattr(ours, field), getattr(theirs, field)
        if field == "head":
            here, there = sorted(select_heads(model, here)), sorted(select_heads(model, there))
        elif field == "targets":
            here, there = (names if isinstance(names, str) else sorted(names) for names in (here, there))
        if here != there:
            different.append(f"{field} is {there!r}, not {here!r}")
    return "; ".join(different)


def check_tensors(tensors: Mapping[str, Tensor], heads: dict[str, Tensor], spectra: Shapes, file: Path) -> None:
    """Raises FourierError unless the tensors of the file fit the heads and the spectra."""
    shapes = {key: tuple(tensor.shape) for key, tensor in heads.items()} | spectra
    problems = [f"{key} is missing" for key in shapes if key not in tensors]
    problems += [f"{key} belongs to no module of the adapter" for key in tensors if key not in shapes]
    for key, found in ((key, tensors[key]) for key in shapes if key in tensors):
        if tuple(found.shape) != shapes[key]:
            problems.append(f"{key} has shape {tuple(found.shape)}, the model {shapes[key]}")
        elif found.is_floating_point() != (key in spectra or heads[key].is_floating_point()):
            problems.append(f"{key} is {found.dtype}")
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise FourierError(
            f"{file} does not fit the model: {'; '.join(problems[:3])}{more}; load it into the model it was trained on"
        )


def write(folder: Path, document: Document, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes both files to disk under temporary names, then renames them; leaves no temporary file behind."""
    files = {
        WEIGHTS_FILE: to_safetensors(tensors, {"format": "pt", **metadata}),
        CONFIG_FILE: (json.dumps(document, indent=2, sort_keys=True) + "\n").encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / f".{name}.{os.getpid()}.tmp" for name in files}
    try:
        for name, data in files.items():
            with open(temporary[name], "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            os.replace(temporary[name], folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)

"""An adapter on disk, in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

What is saved here loads in PEFT and the other way round, trained head included; a digest that PEFT passes over tells
damaged tensors. What PEFT has no words for, a band,
another basis, a grid of entries or entries that are not shared, and parts of a fused projection, is saved under a type
that PEFT refuses by name, rather than as an adapter it would misread.
"""

import hashlib
import json
import os
import reprlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from .config import FourierConfig
from .errors import FourierError
from .model import adapted_model, fourier_layers, insert
from .parts import split_target
from .targets import matches, modules_by_path, parts_of, select, select_heads, without_wrappers

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
PEFT_TYPE, EXTENDED_TYPE = "FOURIERFT", "FOURIERFT_EXTENDED"
# Keys that are read, and PEFT's on which no number depends.
READ = {
    *("peft_type", "n_frequency", "scaling", "random_loc_seed", "target_modules", "modules_to_save", "init_weights"),
    *("task_type", "base_model_name_or_path", "fourierft"),
}
INERT = {"auto_mapping", "fan_in_fan_out", "inference_mode", "peft_version", "revision"}
# Keys of a PEFT file that change what the adapter is, with the only value this library has for each.
UNSUPPORTED = {
    "n_frequency_pattern": {},
    "layers_to_transform": None,
    "layers_pattern": None,
    "exclude_modules": None,
    "bias": "none",
}
# What PEFT cannot express, with the values it implies.
EXTRAS = {"band": None, "basis": "fourier", "entries": "random", "shared_entries": True}


def save(model: nn.Module, path: str | os.PathLike, peft: bool = False) -> None:
    """Writes the coefficients and the head of an adapted model into the folder `path`, made if need be.

    The model may be wrapped (compiled, DDP, FSDP, an average of weights) or held by another: what is written is that of
    the model that `adapt` was given. Where it is sharded by FSDP2, every process has to call.

    `peft=True` insists on a file PEFT can read: raises FourierError, naming the setting, if there can be none. It also
    does for a plain model, and for coefficients on meta or sharded otherwise. Both files are complete on disk
    before either takes its name, so a failed or killed save leaves the older adapter in place; OSError passes through.
    """
    model = adapted_model(model)
    layers = fourier_layers(model)
    config: FourierConfig = model.fourierft_config
    extended = {field: getattr(config, field) for field, plain in EXTRAS.items() if getattr(config, field) != plain}
    parts = {"targets": config.targets} if any(layer.parts for layer in layers.values()) else {}
    if peft and (extended or parts):
        named = ", ".join(f"{field}={value!r}" for field, value in (extended | parts).items())
        raise FourierError(f"PEFT cannot express {named}: save without peft=True, for fourierft.load alone")
    document = {
        "peft_type": EXTENDED_TYPE if extended or parts else PEFT_TYPE,
        "n_frequency": config.n,
        "scaling": config.scale,
        "random_loc_seed": config.entry_seed,
        "target_modules": config.targets if isinstance(config.targets, str) else list(config.targets),
        "modules_to_save": list(config.head) or None,
        "init_weights": config.init == "zeros",
        "fan_in_fan_out": any(getattr(layer, "fan_in_fan_out", False) for layer in layers.values()),
        "task_type": config.task_type,
        "base_model_name_or_path": config.base_model,
        "inference_mode": True,
        "auto_mapping": None if config.task_type else _auto_mapping(model),
        "revision": None,
        **UNSUPPORTED,
    }
    if extended:
        document["fourierft"] = extended
    heads = select_heads(model, config.head)
    _check_real(_tensors(layers, heads))
    tensors = {key: _copy(tensor) for key, tensor in _tensors(layers, heads).items()}
    _check_whole(tensors, _spectrum_shapes(config, layers))
    metadata = {"format": "pt", "fourierft": _identities(document)[0], "sha256": digest(tensors)}
    _write_together(
        Path(path),
        {
            WEIGHTS_FILE: to_safetensors(tensors, metadata),
            CONFIG_FILE: (json.dumps(document, indent=2, sort_keys=True) + "\n").encode(),
        },
    )


def load(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Loads the adapter in the folder `path`, written by `save` or by PEFT, into a plain or an adapted model.

    A plain model is adapted as the file says. An adapted one, which may be wrapped or held by another, must agree with
    the file in n, scale, entries, targets and head. Returns the model. Raises FourierError, with the model unchanged,
    for a missing, foreign or damaged file, keys that do not fit, a wrong shape, or a model on meta or sharded. Damaged
    tensors are found by the digest that `save` writes; PEFT writes none.
    """
    folder = Path(path)
    document = _read_config(folder / CONFIG_FILE)
    stated = _config(document, folder / CONFIG_FILE)
    tensors = _read_weights(folder / WEIGHTS_FILE, document)
    adapted = adapted_model(model) if fourier_layers(model) else None
    config = _narrowed(stated, adapted or model, tensors)
    if adapted:
        _check_agreement(adapted, config, folder)
        layers, heads = fourier_layers(adapted), select_heads(adapted, config.head)
        _check_whole(_tensors(layers, {}), _spectrum_shapes(config, layers))
    else:
        layers, heads = select(model, config)
    _check_real({f"{path}.{k}": p for path, module in (layers | heads).items() for k, p in module.named_parameters()})
    _check_tensors(tensors, _tensors({}, heads), _spectrum_shapes(config, layers), folder / WEIGHTS_FILE)

    # Nothing below can fail.
    if not adapted:
        insert(model, config, layers, heads)
        layers = fourier_layers(model)
    with torch.no_grad():
        for key, tensor in _tensors(layers, heads).items():
            tensor.copy_(tensors[key])
    return model


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256, in hex, over name, dtype, shape and bytes of each tensor, in the order of the names."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _spectrum_key(module: str) -> str:
    return f"{PREFIX}{module}.fourierft_spectrum"


def _spectrum_shapes(config: FourierConfig, layers: Iterable[str]) -> dict[str, tuple[int, ...]]:
    parts = {path: len(parts_of(config, path)) for path in layers}
    return {_spectrum_key(path): (k, config.n) if k else (config.n,) for path, k in parts.items()}


def _check_real(tensors: dict[str, Tensor]) -> None:
    for path, tensor in tensors.items():
        if tensor.is_meta:
            raise FourierError(f"{path} is on the meta device, without values: give the model its weights first")


def _check_whole(tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    for key, shape in shapes.items():
        if tuple(tensors[key].shape) != shape or hasattr(tensors[key], "full_tensor"):
            raise FourierError(
                f"{key} is sharded: load before the model is sharded, and save with the parameters gathered, e.g. by "
                "FSDP.summon_full_params or deepspeed.zero.GatheredParameters"
            )


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU, since safetensors refuses tied tensors; gathered, where it is a DTensor."""
    tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return tensor.detach().cpu().contiguous().clone()


def _tensors(layers: dict[str, nn.Module], heads: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of an adapter under their keys in the file, sharing memory with the model."""
    named = {_spectrum_key(path): layer.fourierft_spectrum for path, layer in layers.items()}
    for path, head in heads.items():
        named |= {f"{PREFIX}{path}.{name}": tensor for name, tensor in head.state_dict().items()}
    return named


def _auto_mapping(model: nn.Module) -> dict[str, str]:
    """By which PEFT's AutoPeftModel finds the base model where no task type says it."""
    return {"base_model_class": type(model).__name__, "parent_library": type(model).__module__}


def _identities(document: dict) -> tuple[str, str]:
    """What the coefficients mean nothing without, as this library writes it and as it used to. It is kept in both
    files, so that a mix of two saves is found out.
    """
    keys = ("n_frequency", "scaling", "random_loc_seed", "fourierft", "target_modules")
    values = [document.get(key) for key in keys]
    return json.dumps(values), json.dumps(values[:4])


def _read_config(file: Path) -> dict:
    """The document, of known keys alone. Raises FourierError for one that changes what the adapter is in a way that
    this library has not, and for a key it never heard of, unless its value says "none": PEFT adds keys that do so.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(file, error) from None
    except (ValueError, RecursionError) as error:
        raise FourierError(f"{file} is not valid JSON ({error}): save the adapter again") from error
    kind = document.get("peft_type") if isinstance(document, dict) else None
    if kind not in (PEFT_TYPE, EXTENDED_TYPE):
        raise FourierError(f"{file}: peft_type is {kind!r}, not {PEFT_TYPE}: this is another method's adapter")
    missing = [key for key in ("n_frequency", "scaling", "random_loc_seed", "target_modules") if key not in document]
    if missing:
        raise FourierError(f"{file} lacks {', '.join(missing)}: save the adapter again")
    for key, value in document.items():
        plain = UNSUPPORTED.get(key)
        if key in UNSUPPORTED and value != plain and value not in (None, "", [], {}):  # no number equals one of these
            raise FourierError(
                f"{file}: {key}={reprlib.repr(value)} is not supported: only {plain!r} is; load it with PEFT"
            )
        if key not in READ | INERT | UNSUPPORTED.keys() and value:
            raise FourierError(
                f"{file}: {key}={reprlib.repr(value)} is unknown, and may change what the adapter is: load it with "
                "PEFT, or take the key out if no number depends on it"
            )
    return document


def _config(document: dict, file: Path) -> FourierConfig:
    """The configuration that a file states."""
    extras, zeros = document.get("fourierft", {}), document.get("init_weights", False)
    if not isinstance(extras, dict) or not extras.keys() <= EXTRAS.keys():
        raise FourierError(
            f"{file}: fourierft={reprlib.repr(extras)} is not a table of {', '.join(EXTRAS)}: load it with the version "
            "that wrote it"
        )
    if not isinstance(zeros, bool):
        raise FourierError(f"{file}: init_weights={reprlib.repr(zeros)} is not possible: give true or false")
    head = document.get("modules_to_save")
    try:
        return FourierConfig(
            n=document["n_frequency"],
            scale=document["scaling"],
            targets=document["target_modules"],
            head=() if head is None else head,
            entry_seed=document["random_loc_seed"],
            init="zeros" if zeros else "normal",
            task_type=document.get("task_type"),
            base_model=document.get("base_model_name_or_path"),
            **extras,
        )
    except (FourierError, RecursionError) as error:
        raise FourierError(f"{file}: {error}") from error


def _read_weights(file: Path, document: dict) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt", device="cpu") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
            metadata = stored.metadata() or {}
    except OSError as error:
        raise _unreadable(file, error) from None
    except SafetensorError as error:
        raise FourierError(f"{file} is not a whole safetensors file ({error}): save the adapter again") from error
    identity, sha256 = metadata.get("fourierft"), metadata.get("sha256")
    ours = _identities(document)
    if identity is not None and identity not in ours:
        raise FourierError(
            f"{file} is of another save than {CONFIG_FILE}: n, scaling, seed, extras and targets are {identity} in the "
            f"one and {ours[0]} in the other; save the adapter again"
        )
    if sha256 is not None and sha256 != digest(tensors):
        raise FourierError(f"{file} is damaged: its tensors have not the digest it states, {sha256}; save it again")
    return {without_wrappers(key): tensor for key, tensor in tensors.items()}


def _unreadable(file: Path, error: OSError) -> FourierError:
    what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
    return FourierError(f"{file} {what}: give the folder that fourierft.save or PEFT wrote")


def _narrowed(config: FourierConfig, model: nn.Module, tensors: dict[str, Tensor]) -> FourierConfig:
    """The configuration for this model: of its names those that the model has, and the heads that the keys tell of."""
    paths = [path for path in modules_by_path(model) if path]
    # PEFT lists names by default that a model may lack (`score` beside `classifier`).
    named = [name for name in config.head if any(matches(name, path) for path in paths)]
    # Its rule for heads has no dot, so that `classifier` takes `pre_classifier` too: the keys tell.
    extra = [
        path
        for path in paths
        if path.endswith(config.head)
        and not any(matches(name, path) for name in named)
        and any(key.startswith(f"{PREFIX}{path}.") for key in tensors)
    ]
    targets = config.targets
    if isinstance(targets, tuple):
        targets = tuple(t for t in targets if any(matches(split_target(t)[0], path) for path in paths)) or targets
    return replace(config, targets=targets, head=tuple(named + extra))


def _check_agreement(model: nn.Module, config: FourierConfig, folder: Path) -> None:
    merged = [path for path, layer in fourier_layers(model).items() if layer.merged]
    if merged:
        raise FourierError(f"{merged[0]} is merged: call fourierft.unmerge before loading other coefficients")

    def comparable(c: FourierConfig) -> dict:
        return {
            "n": c.n,
            "scale": c.scale,
            "entry_seed": c.entry_seed,
            "targets": c.targets if isinstance(c.targets, str) else sorted(c.targets),
            "head": sorted(select_heads(model, c.head)),
            **{field: getattr(c, field) for field in EXTRAS},
        }

    ours, theirs = comparable(model.fourierft_config), comparable(config)
    different = [f"{key} is {theirs[key]!r}, not {ours[key]!r}" for key in ours if theirs[key] != ours[key]]
    if different:
        raise FourierError(
            f"{folder} does not fit the adapted model: {'; '.join(different)}; load it into the plain one"
        )


def _check_tensors(
    tensors: dict[str, Tensor], heads: dict[str, Tensor], spectra: dict[str, tuple[int, ...]], file: Path
) -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in heads.items()} | spectra
    problems = [f"{key} is missing" for key in shapes if key not in tensors]
    problems += [f"{key} belongs to no module of the adapter" for key in tensors if key not in shapes]
    for key in (key for key in shapes if key in tensors):
        found, wide = tensors[key], key in spectra or heads[key].is_floating_point()
        if tuple(found.shape) != shapes[key]:
            problems.append(f"{key} has shape {tuple(found.shape)}, the model {shapes[key]}")
        elif found.is_floating_point() != wide:
            problems.append(f"{key} is {found.dtype}")
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise FourierError(
            f"{file} does not fit the model: {'; '.join(problems[:3])}{more}; load it into the model it was trained on"
        )


def _write_together(folder: Path, files: dict[str, bytes]) -> None:
    """Writes all files to the disk under temporary names, then gives them theirs; leaves no temporary behind."""
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
        for file in temporary.values():
            file.unlink(missing_ok=True)

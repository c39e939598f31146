"""An adapter on disk, in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

What is saved here loads in PEFT and the other way round, trained head included. What PEFT has no words for, a band,
another basis, a grid of entries or entries that are not shared, and parts of a fused projection, is saved under a type
that PEFT refuses by name, rather than as an adapter it would misread.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from .config import FourierConfig, split_target
from .errors import FourierError
from .model import adapted_layers, fourier_layers, insert
from .targets import means, parts_of, select, select_heads

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
PEFT_TYPE, EXTENDED_TYPE = "FOURIERFT", "FOURIERFT_EXTENDED"
# Fields of a PEFT file that change what the adapter is, with the only value this library has for each.
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

    `peft=True` insists on a file PEFT can read: raises FourierError, naming the setting, if there can be none. Both
    files are complete on disk before either takes its name, so a failed or killed save leaves the older adapter in
    place; OSError passes through.
    """
    layers = adapted_layers(model)
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
    tensors = {
        key: tensor.detach().cpu().contiguous().clone()  # a clone: safetensors refuses tied tensors
        for key, tensor in _tensors(layers, select_heads(model, config.head)).items()
    }
    metadata = {"format": "pt", "fourierft": _identity(document)}
    _write_together(
        Path(path),
        {
            WEIGHTS_FILE: to_safetensors(tensors, metadata),
            CONFIG_FILE: (json.dumps(document, indent=2, sort_keys=True) + "\n").encode(),
        },
    )


def load(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Loads the adapter in the folder `path`, written by `save` or by PEFT, into a plain or an adapted model.

    A plain model is adapted as the file says. An adapted one must agree with the file in n, scale, entries, targets and
    head. Returns the model. Raises FourierError, with the model unchanged, for a missing or foreign file, keys that do
    not fit, or a wrong shape.
    """
    folder = Path(path)
    document = _read_config(folder)
    tensors = _read_weights(folder, document)
    config = _config(document, model, tensors, folder / CONFIG_FILE)
    layers = fourier_layers(model)
    if layers:
        _check_agreement(model, config, folder)
        heads = select_heads(model, config.head)
    else:
        layers, heads = select(model, config)
    shapes = {key: tuple(tensor.shape) for key, tensor in _tensors({}, heads).items()}
    parts = {path: len(parts_of(config, path)) for path in layers}
    shapes |= {_spectrum_key(path): (k, config.n) if k else (config.n,) for path, k in parts.items()}
    _check_tensors(tensors, shapes, folder / WEIGHTS_FILE)

    # Nothing below can fail.
    if not fourier_layers(model):
        insert(model, config, layers, heads)
    with torch.no_grad():
        for key, tensor in _tensors(fourier_layers(model), heads).items():
            tensor.copy_(tensors[key])
    return model


def _spectrum_key(module: str) -> str:
    return f"{PREFIX}{module}.fourierft_spectrum"


def _tensors(layers: dict[str, nn.Module], heads: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of an adapter under their keys in the file, sharing memory with the model."""
    named = {_spectrum_key(path): layer.fourierft_spectrum for path, layer in layers.items()}
    for path, head in heads.items():
        named |= {f"{PREFIX}{path}.{name}": tensor for name, tensor in head.state_dict().items()}
    return named


def _auto_mapping(model: nn.Module) -> dict[str, str]:
    """By which PEFT's AutoPeftModel finds the base model where no task type says it."""
    return {"base_model_class": type(model).__name__, "parent_library": type(model).__module__}


def _identity(document: dict) -> str:
    """What the coefficients mean nothing without. It is kept in both files, so that a mix of two saves is found out."""
    return json.dumps([document.get(key) for key in ("n_frequency", "scaling", "random_loc_seed", "fourierft")])


def _read_config(folder: Path) -> dict:
    file = folder / CONFIG_FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FourierError(f"{file} does not exist: give the folder that fourierft.save or PEFT wrote") from None
    except ValueError as error:
        raise FourierError(f"{file} is not valid JSON ({error}): save the adapter again") from error
    kind = document.get("peft_type") if isinstance(document, dict) else None
    if kind not in (PEFT_TYPE, EXTENDED_TYPE):
        raise FourierError(f"{file}: peft_type is {kind!r}, not {PEFT_TYPE}: this is another method's adapter")
    missing = [key for key in ("n_frequency", "scaling", "random_loc_seed", "target_modules") if key not in document]
    if missing:
        raise FourierError(f"{file} lacks {', '.join(missing)}: save the adapter again")
    for key, plain in UNSUPPORTED.items():
        value = document.get(key)
        if value and value != plain:
            raise FourierError(f"{file}: {key}={value!r} is not supported: only {plain!r} is; load it with PEFT")
    unknown = sorted(document.get("fourierft", {}).keys() - EXTRAS.keys())
    if unknown:
        raise FourierError(f"{file}: fourierft.{unknown[0]} is unknown: load it with the version that wrote it")
    return document


def _read_weights(folder: Path, document: dict) -> dict[str, Tensor]:
    file = folder / WEIGHTS_FILE
    try:
        with safe_open(file, framework="pt", device="cpu") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
            identity = (stored.metadata() or {}).get("fourierft")
    except FileNotFoundError:
        raise FourierError(f"{file} does not exist: give the folder that fourierft.save or PEFT wrote") from None
    except SafetensorError as error:
        raise FourierError(f"{file} is not a whole safetensors file ({error}): save the adapter again") from error
    if identity is not None and identity != _identity(document):
        raise FourierError(
            f"{file} is of another save than {CONFIG_FILE}: n, scaling, seed and extras are {identity} in the one and "
            f"{_identity(document)} in the other; save the adapter again"
        )
    return tensors


def _config(document: dict, model: nn.Module, tensors: dict[str, Tensor], file: Path) -> FourierConfig:
    """The configuration a file states, for this model."""
    paths = [path for path, _ in model.named_modules() if path]
    targets, head = document["target_modules"], document.get("modules_to_save") or []
    # PEFT lists names by default that a model may lack (`score` beside `classifier`).
    named = [name for name in head if any(means(name, path) for path in paths)]
    # Its rule for heads has no dot, so that `classifier` takes `pre_classifier` too: the keys tell.
    extra = [
        path
        for path in paths
        if path.endswith(tuple(head))
        and not any(means(name, path) for name in named)
        and any(key.startswith(f"{PREFIX}{path}.") for key in tensors)
    ]
    if isinstance(targets, list):
        targets = tuple(t for t in targets if any(means(split_target(t)[0], path) for path in paths)) or tuple(targets)
    try:
        return FourierConfig(
            n=document["n_frequency"],
            scale=document["scaling"],
            targets=targets,
            head=tuple(named + extra),
            entry_seed=document["random_loc_seed"],
            init="zeros" if document.get("init_weights") else "normal",
            task_type=document.get("task_type"),
            base_model=document.get("base_model_name_or_path"),
            **document.get("fourierft", {}),
        )
    except FourierError as error:
        raise FourierError(f"{file}: {error}") from error


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


def _check_tensors(tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], file: Path) -> None:
    problems = [f"{key} is missing" for key in shapes if key not in tensors]
    problems += [f"{key} belongs to no module of the adapter" for key in tensors if key not in shapes]
    problems += [
        f"{key} has shape {tuple(tensors[key].shape)}, the model {shape}"
        for key, shape in shapes.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
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

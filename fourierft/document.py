"""adapter_config.json: the configuration of an adapter in PEFT's format.

PEFT cannot express a band, another basis, a grid, positions that are not shared, or parts of a fused projection. Such a
file has another `peft_type`, so that PEFT refuses it instead of misreading it. All that PEFT then prints is
"KeyError: " and that name: so the name says what to do.
"""

import json
import reprlib
from pathlib import Path
from typing import Any

from .config import FourierConfig
from .errors import FourierError

CONFIG_FILE = "adapter_config.json"
PEFT_TYPE, EXTENDED_TYPE = "FOURIERFT", "FOURIERFT_EXTENDED"
REMEDY = "PEFT cannot read this adapter; fourierft.load(model, folder) does, and fourierft.to_lora makes a LoRA of it"
Document = dict[str, Any]
# PEFT's key of each field of FourierConfig: those of every method, and all; the first four of all are in every file.
SHARED_KEYS = {
    "targets": "target_modules",
    "head": "modules_to_save",
    "task_type": "task_type",
    "base_model": "base_model_name_or_path",
}
KEYS = {
    "n": "n_frequency",
    "scale": "scaling",
    "entry_seed": "random_loc_seed",
    **SHARED_KEYS,
    "n_pattern": "n_frequency_pattern",
}
# Fields that PEFT cannot express, with the values it implies.
EXTRAS = {"band": None, "basis": "fourier", "entries": "random", "shared_entries": True}
# PEFT's keys on which no result depends, and those that change the adapter, with the only value supported.
INERT = {"auto_mapping", "fan_in_fan_out", "inference_mode", "peft_version", "revision"}
UNSUPPORTED: Document = {
    "layers_to_transform": None,
    "layers_pattern": None,
    "exclude_modules": None,
    "bias": "none",
}
# Settings that `adapt` replaces by what they come to in a model.
RESOLVED = {"scaling": "auto", "target_modules": "all-linear"}
KNOWN = {"peft_type", "init_weights", "fourierft", *KEYS.values(), *INERT, *UNSUPPORTED}


def extensions(config: FourierConfig) -> Document:
    """The fields that PEFT cannot express, with their values: those of EXTRAS, and targets that name parts."""
    values = {field: getattr(config, field) for field in EXTRAS}
    found = {field: value for field, value in values.items() if value != EXTRAS[field]}
    parts = not isinstance(config.targets, str) and any(":" in target for target in config.targets)
    return found | ({"targets": config.targets} if parts else {})


def shared_document(config: FourierConfig, fan_in_fan_out: bool, model: type) -> Document:
    """What the document of an adapter says whatever its method, for a model of class `model`."""
    # From which PEFT's AutoPeftModel finds the base model if there is no task type.
    classes = {"base_model_class": model.__name__, "parent_library": model.__module__}
    return (
        {key: getattr(config, field) for field, key in SHARED_KEYS.items()}
        | UNSUPPORTED
        | {
            "modules_to_save": config.head or None,
            "fan_in_fan_out": fan_in_fan_out,
            "inference_mode": True,
            "auto_mapping": None if config.task_type else classes,
            "revision": None,
        }
    )


def to_document(config: FourierConfig, fan_in_fan_out: bool, model: type) -> Document:
    """The document of an adapter with this configuration, for a model of class `model`."""
    extended = extensions(config)
    document = shared_document(config, fan_in_fan_out, model) | {
        "peft_type": f"{EXTENDED_TYPE}: {REMEDY}" if extended else PEFT_TYPE,
        "n_frequency": config.n,
        "n_frequency_pattern": dict(config.n_pattern),
        "scaling": config.scale,
        "random_loc_seed": config.entry_seed,
        "init_weights": config.init == "zeros",
    }
    extended.pop("targets", None)
    return document | ({"fourierft": extended} if extended else {})


def read_document(file: Path) -> Document:
    """Reads and checks a document. Raises FourierError if it uses a feature of PEFT that is not supported here.

    An unknown key counts as one, unless its value is empty or false: newer versions of PEFT add such keys.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(file, error) from None
    except (ValueError, RecursionError) as error:
        raise FourierError(f"{file} is not valid JSON ({error}): save the adapter again") from error
    kind = document.get("peft_type") if isinstance(document, dict) else None
    if str(kind).partition(":")[0] not in (PEFT_TYPE, EXTENDED_TYPE):
        raise FourierError(f"{file}: peft_type is {kind!r}, not {PEFT_TYPE}: this is another method's adapter")
    if missing := [key for key in list(KEYS.values())[:4] if key not in document]:
        raise FourierError(f"{file} lacks {', '.join(missing)}: save the adapter again")
    for key, value in document.items():
        said = f"{file}: {key}={reprlib.repr(value)}"
        if key in UNSUPPORTED and value != UNSUPPORTED[key] and value not in (None, "", [], {}):
            raise FourierError(f"{said} is not supported: only {UNSUPPORTED[key]!r} is; load it with PEFT")
        if key in RESOLVED and value == RESOLVED[key]:
            raise FourierError(f"{said} is for fourierft.adapt: a file tells what came of it; save the adapter again")
        if key not in KNOWN and value:
            raise FourierError(
                f"{said} is unknown, and may change the adapter: load it with PEFT, or remove the key if no result "
                "depends on it"
            )
    return document


def to_config(document: Document, file: Path) -> FourierConfig:
    """The configuration in a document. Raises FourierError, naming the file, if it is invalid."""
    extras, zeros = document.get("fourierft", {}), document.get("init_weights", False)
    if not isinstance(extras, dict) or not extras.keys() <= EXTRAS.keys():
        raise FourierError(
            f"{file}: fourierft={reprlib.repr(extras)} is not a table of {', '.join(EXTRAS)}: load it with the version "
            "that wrote it"
        )
    if not isinstance(zeros, bool):
        raise FourierError(f"{file}: init_weights={reprlib.repr(zeros)} is not possible: give true or false")
    fields: Document = {field: document.get(key) for field, key in KEYS.items()} | extras
    fields |= {field: () for field in ("head", "n_pattern") if fields[field] is None}
    try:
        return FourierConfig(**fields, init="zeros" if zeros else "normal")
    except (FourierError, RecursionError) as error:
        raise FourierError(f"{file}: {error}") from error


def identities(document: Document) -> tuple[str, str]:
    """The settings that give the coefficients their meaning, as a string, in the current and in the former format.

    Both files of an adapter have it, so that files of two different saves are detected.
    """
    keys = ("n_frequency", "scaling", "random_loc_seed", "fourierft", "target_modules")
    values = [document.get(key) for key in keys]
    pattern = document.get("n_frequency_pattern")
    return json.dumps([*values, pattern] if pattern else values), json.dumps(values[:4])


def unreadable(file: Path, error: OSError) -> FourierError:
    """The exception for a file of an adapter that cannot be read."""
    what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
    return FourierError(f"{file} {what}: give the folder that fourierft.save or PEFT wrote")

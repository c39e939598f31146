"""A pre-trained model's folder: its files and what is read from them. Errors name what is damaged."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from experiments.errors import UserError
from experiments.models.dropout import dropout_settings
from experiments.models.heads import check_head, found, is_head

FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "preprocessor_config.json",
)
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # of weights that are in several files
PATTERNS = (*FILES, INDEX, "model-*-of-*.safetensors")
CONVERSION = (  # weights_only: no code in a pickle is run
    'python -c "import glob, torch; from safetensors.torch import save_file; '
    "save_file({name: part.contiguous().clone() for file in glob.glob('pytorch_model*.bin') "
    "for name, part in torch.load(file, weights_only=True).items()}, 'model.safetensors', {'format': 'pt'})\""
)


def files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The files of a model by name, with its weights in one file or several; and the names of missing ones.

    Raises UserError for a file that is damaged, as far as that can be seen without using it.
    """
    names = [name for name in FILES if (folder / name).is_file()]
    required = {"config.json", WEIGHTS}
    if WEIGHTS not in names and (folder / INDEX).is_file():
        shards = _shards(folder / INDEX)
        required = {"config.json", *shards}
        names += [INDEX, *sorted(shard for shard in shards if (folder / shard).is_file())]
    for name in names:
        if name.endswith(".json"):
            _object(folder / name)
        elif name.endswith(".safetensors"):
            with reading(folder / name):
                safetensors.safe_open(folder / name, "pt")  # checks that the header accounts for every byte
    if "config.json" in names:
        if own := _object(folder / "config.json").get("auto_map", {}).get("AutoConfig"):
            raise UserError(f"{folder}: needs code of its own ({own}), which is not run here; choose another model")
        with reading(folder / "config.json"):
            AutoConfig.from_pretrained(folder, local_files_only=True)
    return {name: folder / name for name in names}, sorted(required - set(names))


def pickled(names: Iterable[str]) -> str:
    """What to do where the weights are only there as pickles; empty where there are none."""
    pickles = sorted(name for name in names if name.startswith("pytorch_model") and name.endswith(".bin"))
    return f", but {', '.join(pickles)}: pickles are not loaded here, convert them, {CONVERSION}" if pickles else ""


def _shards(index: Path) -> set[str]:
    """The files that an index of weights names."""
    with reading(index):
        shards = _object(index)["weight_map"].values()
        if not all(isinstance(shard, str) for shard in shards):
            raise ValueError("weight_map: not all are names of files")
        return set(shards)


def _object(path: Path) -> dict[str, Any]:
    with reading(path):
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        return content


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder. Raises UserError where its files are damaged or missing."""
    with reading(f"{folder}, tokenizer"):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def read_config(folder: Path, dropout: float | None, **changes: Any) -> PretrainedConfig:
    """The configuration of the model in a folder, with `changes`. dropout: everywhere in it; None: the model's own.

    Raises UserError for a damaged file, and for dropout in an unknown type of model.
    """
    with reading(f"{folder}, config.json"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, **changes)
    config.update(dropout_settings(config.model_type, dropout))
    return config


def read_model(kind: Any, folder: Path, head: tuple[str, ...] | Literal["auto"], **options: Any) -> nn.Module:
    """The model in a folder, by one of transformers' Auto classes and its `options`.

    head: names of modules, as in Model, that may be absent from the file or have another size there: they are
    initialised anew.
    Raises UserError where the files are damaged, where the model has no module of such a name, or where any other
    weight is absent: transformers would initialise it at random.
    """
    with reading(f"{folder}, config.json and weights"):
        model, loading = kind.from_pretrained(
            folder, local_files_only=True, ignore_mismatched_sizes=True, output_loading_info=True, **options
        )
    check_head(model, head := found(model, head))
    absent = [*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])]
    if wrong := sorted(key for key in absent if not is_head(key, head)):
        raise UserError(
            f"{folder}: of the weights that config.json describes, {len(wrong)} are absent or of another size, such as "
            f"{wrong[0]}: they do not belong together; fetch both anew"
        )
    return model


@contextmanager
def reading(what: str | Path) -> Iterator[None]:
    """A context in which any error becomes a UserError with what was read: damaged files make libraries raise any."""
    try:
        yield
    except (UserError, ImportError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UserError(f"{what}: cannot be used ({error!r}); if it is damaged or cut short, fetch it anew") from error

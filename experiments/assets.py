"""Where models and data come from: a local folder, the hub's cache, the hub, or the miniatures in this repository."""

import functools
import hashlib
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError
from pydantic import Field, NonNegativeFloat, field_validator

from experiments.errors import UserError
from experiments.typed import Typed

HUB_PATIENCE = 5.0  # seconds in which the hub must answer before a run goes on without it
MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
)
REQUIRED_MODEL_FILES = MODEL_FILES[:2]
EMBEDDED = Path(__file__).parent / "mini"


class Assets(Typed):
    """The folder looked in first (models/<name>, datasets/<name>/<split>.parquet), and whether to ask the hub."""

    root: Path | None
    hub: bool

    @field_validator("root", mode="before")
    @classmethod
    def _empty_is_none(cls, root: Any) -> Any:
        return root or None  # FOURIERFT_ASSETS= names no folder, not this one


class Model(Typed):
    """A pre-trained model and the names of its parts."""

    name: str
    scale: Literal["paper", "small", "mini"]
    miniature: str
    hub: str | None
    local: str
    attention: tuple[str, ...] = Field(min_length=1)
    head: tuple[str, ...]
    dropout: NonNegativeFloat | None


@dataclass(frozen=True)
class Source:
    """Files that were found, by name, and where."""

    name: str
    source: Literal["local", "hub", "embedded"]
    id: str
    files: dict[str, Path]
    revision: str | None = None

    def identity(self) -> dict[str, Any]:
        """What a record says of it. The sha256 is over the files' own digests, in the order of their names."""
        digests = "".join(sha256(self.files[name]) for name in sorted(self.files))
        digest = hashlib.sha256(digests.encode()).hexdigest()
        return {"name": self.name, "source": self.source, "id": self.id, "revision": self.revision, "sha256": digest}


def find_model(model: Model, assets: Assets) -> Source | None:
    """The files of a pre-trained model, or None where there are none.

    Raises UserError for a folder that is there but incomplete.
    """
    folder = EMBEDDED / model.local if model.scale == "mini" else assets.root and assets.root / "models" / model.local
    if folder and folder.is_dir():
        files = {name: folder / name for name in MODEL_FILES if (folder / name).is_file()}
        missing = sorted(set(REQUIRED_MODEL_FILES) - set(files))
        if missing:
            raise UserError(f"{folder}: lacks {', '.join(missing)}; complete the folder, or remove it to use the hub")
        kind = "embedded" if model.scale == "mini" else "local"
        return Source(model.name, kind, model.local, files)
    return model.hub and _from_hub(
        model.name, model.hub, "model", {f: f for f in MODEL_FILES}, REQUIRED_MODEL_FILES, assets
    )


def find_dataset(name: str, splits: dict[str, str], hub: str, assets: Assets) -> Source | None:
    """The parquet files of a data set, split -> file, or None.

    `splits` maps a split to its file in the repository `hub`; locally it is <root>/datasets/<name>/<split>.parquet.
    """
    folder = assets.root and assets.root / "datasets" / name
    if folder and folder.is_dir():
        files = {split: folder / f"{split}.parquet" for split in splits}
        missing = [str(file) for file in files.values() if not file.is_file()]
        if missing:
            raise UserError(f"missing {', '.join(missing)}; add it, or remove the folder to use the hub")
        return Source(name, "local", name, files)
    return _from_hub(name, hub, "dataset", splits, tuple(splits), assets)


def _from_hub(
    name: str, repo: str, repo_type: str, wanted: dict[str, str], required: tuple[str, ...], assets: Assets
) -> Source | None:
    """Look in the hub's cache, then ask the hub. `wanted` maps our name of a file to its path in the repository."""
    cached = {
        key: huggingface_hub.try_to_load_from_cache(repo, path, repo_type=repo_type) for key, path in wanted.items()
    }
    files = {key: Path(path) for key, path in cached.items() if isinstance(path, str)}
    if not set(required) <= set(files):
        if not (assets.hub and hub_answers()):
            return None
        for key, path in wanted.items():
            try:
                files[key] = Path(huggingface_hub.hf_hub_download(repo, path, repo_type=repo_type))
            except EntryNotFoundError as error:
                if key in required:
                    raise UserError(f"{repo} on the hub has no {path}; put the files under assets.root") from error
    revision = files[required[0]].parts[files[required[0]].parts.index("snapshots") + 1]
    return Source(name, "hub", repo, files, revision)


@functools.cache
def hub_answers() -> bool:
    """Whether the Hugging Face hub answers within HUB_PATIENCE seconds; decided once a process."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(huggingface_hub.constants.ENDPOINT, timeout=HUB_PATIENCE).close()
        except OSError:
            return
        answers.append(True)

    # A thread, because name resolution can outlast every time-out that a client lets us set.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_PATIENCE)
    return bool(answers)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

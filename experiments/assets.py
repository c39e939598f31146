"""Where models and data come from: a local folder, the hub's cache, the hub, or the miniatures in this repository."""

import functools
import hashlib
import threading
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import pyarrow
import pyarrow.parquet
from datasets import Dataset
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
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
    "preprocessor_config.json",
)
REQUIRED_MODEL_FILES = MODEL_FILES[:2]
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff")
EMBEDDED = Path(__file__).parent / "mini"


class Assets(Typed):
    """The folder looked in first (models/<name>, datasets/<name>/...), and whether to ask the hub.

    made: where the models lie that scripts/pretrain_mini.py made here; looked in before the hub.
    """

    root: Path | None
    made: Path
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
        """What a record says of it. The sha256 is over the files' own digests, in the order of their names, and over
        the names of images, which tell split and class."""
        digests = "".join(
            (name if path.suffix.lower() in IMAGE_ENDINGS else "") + sha256(path)
            for name, path in sorted(self.files.items())
        )
        digest = hashlib.sha256(digests.encode()).hexdigest()
        return {"name": self.name, "source": self.source, "id": self.id, "revision": self.revision, "sha256": digest}


def find_model(model: Model, assets: Assets) -> Source | None:
    """The files of a pre-trained model, or None where there are none.

    Raises UserError for a folder that is there but incomplete.
    """
    places = [EMBEDDED] if model.scale == "mini" else [assets.root and assets.root / "models", assets.made]
    folder = next((place / model.local for place in places if place and (place / model.local).is_dir()), None)
    if folder == assets.made / model.local and not (folder / REQUIRED_MODEL_FILES[1]).is_file():
        folder = None  # still being made: its weights come last
    if folder:
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

    `splits` maps a split to its file in the repository `hub`, or to "" where that is the split's only one, wherever it
    lies; locally it is <root>/datasets/<name>/<split>.parquet.
    """
    folder = assets.root and assets.root / "datasets" / name
    if folder and folder.is_dir():
        files = {split: folder / f"{split}.parquet" for split in splits}
        missing = [str(file) for file in files.values() if not file.is_file()]
        if missing:
            raise UserError(f"missing {', '.join(missing)}; add it, or remove the folder to use the hub")
        return Source(name, "local", name, files)
    if all(splits.values()):
        return _from_hub(name, hub, "dataset", splits, tuple(splits), assets)
    shards = {split: _shards(hub, split, assets) for split in splits}
    if not all(shards.values()):
        return None
    if several := [split for split, paths in shards.items() if len(paths) > 1]:
        raise UserError(
            f"{hub} on the hub: {several[0]} is in several files; put one {several[0]}.parquet under assets.root"
        )
    files = {split: paths[0] for split, paths in shards.items()}
    return Source(name, "hub", hub, files, _revision(files[min(files)]))


def find_images(name: str, repositories: dict[str, str] | None, assets: Assets) -> Source | None:
    """The files of a set of images, or None: parquet files, or images in a folder a class.

    Locally <root>/datasets/<name>/ holds <split>.parquet (or <split>-*.parquet), or <split>/<class>/<image>, or
    <class>/<image> alone, which counts as train. `repositories` maps a split to its repository on the hub.
    """
    folder = assets.root and assets.root / "datasets" / name
    if folder and folder.is_dir():
        files = sorted(folder.rglob("*.parquet")) or sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS
        )
        if not files:
            raise UserError(
                f"{folder}: holds neither <split>.parquet nor images in <split>/<class>/ ({', '.join(IMAGE_ENDINGS)}); "
                "fill it, or remove it to use the hub"
            )
        return Source(name, "local", name, {path.relative_to(folder).as_posix(): path for path in files})
    if repositories is None:
        return None
    files, revisions = {}, {}
    for split, repo in repositories.items():
        shards = _shards(repo, split, assets)
        if not shards:
            return None
        files |= {path.name: path for path in shards}
        revisions[repo] = _revision(shards[0])
    return Source(name, "hub", ", ".join(revisions), files, ", ".join(revisions.values()))


def _shards(repo: str, split: str, assets: Assets) -> list[Path]:
    """The parquet files of a split, all of them: from the hub's cache, else from the hub; none where neither has."""
    download = functools.partial(
        huggingface_hub.snapshot_download, repo, repo_type="dataset", allow_patterns=f"*{split}-*.parquet"
    )
    for offline in (True, False):
        if not offline and not (assets.hub and hub_answers()):
            return []
        try:
            folder = Path(download(local_files_only=offline))
        except LocalEntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            remedy = "log in, try again, or put the files under assets.root"
            raise UserError(f"{repo} on the hub, split {split}: {error}; {remedy}") from error
        shards = sorted(folder.rglob(f"{split}-*-of-*.parquet"))
        if shards and len(shards) == int(shards[0].stem.partition("-of-")[2].split("-")[0]):
            return shards
    raise UserError(f"{repo} on the hub has no whole split {split}; put the files under assets.root")


def read_parquet(file: Path, needed: Iterable[str]) -> Dataset:
    """The rows of a file. Raises UserError where it cannot be read or lacks one of the columns."""
    try:
        rows = Dataset(pyarrow.parquet.read_table(file))
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{file}: not a readable parquet file ({error}); it may be cut short: fetch it anew") from error
    missing = sorted(set(needed) - set(rows.column_names))
    if missing:
        raise UserError(f"{file}: lacks the column {', '.join(missing)}; it has {', '.join(rows.column_names)}")
    return rows


def _revision(path: Path) -> str:
    """Of a file in the hub's cache."""
    return path.parts[path.parts.index("snapshots") + 1]


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
    return Source(name, "hub", repo, files, _revision(files[required[0]]))


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

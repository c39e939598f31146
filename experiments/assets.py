"""Where models and data come from: a local folder, the hub's cache, the hub, or the miniatures in this repository."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import huggingface_hub
import pyarrow
import pyarrow.parquet
from datasets import Dataset, concatenate_datasets
from pydantic import Field, NonNegativeFloat, field_validator

from experiments import hub, pretrained
from experiments.errors import UserError
from experiments.typed import Typed, UserPath

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff")
EMBEDDED = Path(__file__).parent / "mini"


class Assets(Typed):
    """The folder looked in first (models/<name>, datasets/<name>/...), and whether to ask the hub.

    made: where the models lie that scripts/pretrain_mini.py made here; looked in before the hub.
    """

    root: UserPath | None
    made: UserPath
    hub: bool

    @field_validator("root", mode="before")
    @classmethod
    def _empty_is_none(cls, root: Any) -> Any:
        return root or None  # FOURIERFT_ASSETS= names no folder, not this one

    @field_validator("root")
    @classmethod
    def _is_a_folder(cls, root: Path | None) -> Path | None:
        if root and not root.is_dir():
            default = "FOURIERFT_ASSETS is the default"
            raise ValueError(f"there is no such folder; name one with models/ and datasets/ in it ({default}), or null")
        return root


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

    def parts(self, split: str) -> list[Path]:
        """The files of a split of data, in their order."""
        return [path for name, path in sorted(self.files.items()) if split_of(name) == split]

    def where(self, split: str) -> str:
        """Where a split is, for a message: its file, or the set where it is in several."""
        parts = self.parts(split)
        return str(parts[0]) if len(parts) == 1 else f"{self.id}, {split}"

    def identity(self) -> dict[str, Any]:
        """What a record says of it. The sha256 is over the files' own digests, in the order of their names, and over
        the names of images, which tell split and class."""
        digests = "".join(
            (name if path.suffix.lower() in IMAGE_ENDINGS else "") + sha256(path)
            for name, path in sorted(self.files.items())
        )
        digest = hashlib.sha256(digests.encode()).hexdigest()
        return {"name": self.name, "source": self.source, "id": self.id, "revision": self.revision, "sha256": digest}


def split_of(name: str) -> str:
    """train of train.parquet, of train-00000-of-00002.parquet and of data/train-00000-of-00002-0a1b.parquet."""
    return PurePosixPath(name).stem.partition("-")[0]


def find_model(model: Model, assets: Assets) -> Source | None:
    """The files of a pre-trained model, or None where there are none.

    Raises UserError for a folder that is there but incomplete or damaged, and for weights in no safetensors file.
    """
    places = [EMBEDDED] if model.scale == "mini" else [assets.root and assets.root / "models", assets.made]
    folder = next((place / model.local for place in places if place and (place / model.local).is_dir()), None)
    if folder == assets.made / model.local and not (folder / pretrained.WEIGHTS).is_file():
        folder = None  # still being made: its weights come last
    if folder:
        files, missing = pretrained.files(folder)
        if missing:
            has = pretrained.pickled(path.name for path in folder.iterdir())
            raise UserError(f"{folder}: lacks {', '.join(missing)}{has}; complete it, or remove it to use the hub")
        return Source(model.name, "embedded" if model.scale == "mini" else "local", model.local, files)
    if model.hub is None:
        return None
    missing, has = ["config.json", pretrained.WEIGHTS], ""
    for snapshot in hub.snapshots(model.hub, "model", pretrained.PATTERNS, assets.hub):
        files, missing = pretrained.files(snapshot)
        if not missing:
            return Source(model.name, "hub", model.hub, files, hub.revision(files["config.json"]))
        has = pretrained.pickled(path.name for path in snapshot.glob("*"))
    if assets.hub and hub.answers():
        with hub.asking(model.hub):
            has = pretrained.pickled(huggingface_hub.HfApi().list_repo_files(model.hub))
    elif not has:
        return None
    lacking = ", ".join(missing)
    raise UserError(
        f"{model.hub} on the hub has no {lacking}{has}; put the files in <assets.root>/models/{model.local}"
    )


def find_dataset(name: str, splits: dict[str, str], repo: str, assets: Assets) -> Source | None:
    """The files of a data set, or None.

    `splits` maps a split to its file in the repository, or to "" where the split's name is enough to find it; locally
    it is <root>/datasets/<name>/<split>.parquet, or .json.
    """
    folder = assets.root and assets.root / "datasets" / name
    if folder and folder.is_dir():
        files = {split: folder / f"{split}.parquet" for split in splits}
        for split, file in files.items():
            if not file.is_file() and (other := file.with_suffix(".json")).is_file():
                files[split] = other
        missing = [str(file) for file in files.values() if not file.is_file()]
        if missing:
            raise UserError(f"missing {', '.join(missing)}; add it, or remove the folder to use the hub")
        return Source(name, "local", name, files)
    return _from_hub(name, {repo: splits}, assets)


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
    wanted: dict[str, dict[str, str]] = {}
    for split, repo in repositories.items():
        wanted.setdefault(repo, {})[split] = ""
    return _from_hub(name, wanted, assets)


def _from_hub(name: str, repositories: dict[str, dict[str, str]], assets: Assets) -> Source | None:
    """The splits of each repository, by <split> where it is one file and by <split>-<i>-of-<n> where it is several."""
    files, revisions = {}, {}
    for repo, wanted in repositories.items():
        found = hub.splits(repo, wanted, assets.hub)
        if found is None:
            return None
        for split, parts in found.items():
            for i, path in enumerate(parts):
                files[split if len(parts) == 1 else f"{split}-{i:05}-of-{len(parts):05}"] = path
            revisions[repo] = hub.revision(parts[0])
    return Source(name, "hub", ", ".join(revisions), files, ", ".join(revisions.values()))


def read_rows(file: Path, needed: Iterable[str]) -> Dataset:
    """The rows of a parquet file, or of a JSON file that is one list of objects.

    Raises UserError where it cannot be read or lacks one of the columns.
    """
    kind = "JSON" if file.suffix == ".json" else "parquet"
    try:
        rows = _json_rows(file) if kind == "JSON" else Dataset(pyarrow.parquet.read_table(file))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file}: not a readable {kind} file ({error}); it may be cut short: fetch it anew") from error
    missing = sorted(set(needed) - set(rows.column_names))
    if missing:
        raise UserError(f"{file}: lacks the column {', '.join(missing)}; it has {', '.join(rows.column_names)}")
    return rows


def _json_rows(file: Path) -> Dataset:
    rows = json.loads(file.read_text(encoding="utf-8-sig"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is no list of objects")
    return Dataset.from_list(rows)


def read_split(data: Source, split: str, *columns: Iterable[str]) -> Dataset:
    """The rows of all files of a split. Takes columns, and raises UserError, as `read_rows` does."""
    return concatenate_datasets([read_rows(part, *columns) for part in data.parts(split)])


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""Where models and data come from: a local folder, the hub's cache, the hub, or the miniatures in this repository."""

import contextlib
import functools
import hashlib
import json
import threading
import urllib.request
from collections.abc import Iterable, Iterator
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
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # of weights in several files
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff")
# What json, pyarrow and datasets raise for a damaged file.
UNREADABLE = (
    *(pyarrow.ArrowException, OSError, ValueError, TypeError),
    *(LookupError, AttributeError, OverflowError, RecursionError),
)
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
    if folder == assets.made / model.local and not (folder / WEIGHTS).is_file():
        folder = None  # still being made: its weights come last
    if folder:
        files, missing = _model_files(folder)
        if missing:
            raise UserError(f"{folder}: lacks {', '.join(missing)}; complete the folder, or remove it to use the hub")
        return Source(model.name, "embedded" if model.scale == "mini" else "local", model.local, files)
    if model.hub is None:
        return None
    missing = ["config.json", WEIGHTS]
    for snapshot in _snapshots(model.hub, "model", [*MODEL_FILES, INDEX, "model-*-of-*.safetensors"], assets):
        files, missing = _model_files(snapshot)
        if not missing:
            return Source(model.name, "hub", model.hub, files, _revision(files["config.json"]))
    if not _asks_hub(assets):
        return None
    raise UserError(f"{model.hub} on the hub has no {', '.join(missing)}; put the files under assets.root")


def _model_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The files of a model by name, its weights in one file or in several; and what is missing."""
    names = [name for name in MODEL_FILES if (folder / name).is_file()]
    required = {"config.json", WEIGHTS}
    if WEIGHTS not in names and (folder / INDEX).is_file():
        shards = set(json.loads((folder / INDEX).read_text())["weight_map"].values())
        required = {"config.json", *shards}
        names += [INDEX, *sorted(shard for shard in shards if (folder / shard).is_file())]
    return {name: folder / name for name in names}, sorted(required - set(names))


def find_dataset(name: str, splits: dict[str, str], hub: str, assets: Assets) -> Source | None:
    """The files of a data set, split -> file, or None.

    `splits` maps a split to its file in the repository `hub`, or to "" where that is the split's only parquet file,
    wherever it lies; locally it is <root>/datasets/<name>/<split>.parquet, or .json.
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
    if all(splits.values()):
        return _from_hub(name, hub, splits, assets)
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
    for folder in _snapshots(repo, "dataset", [f"*{split}-*.parquet"], assets):
        shards = sorted(folder.rglob(f"{split}-*-of-*.parquet"))
        if shards and len(shards) == int(shards[0].stem.partition("-of-")[2].split("-")[0]):
            return shards
    if not _asks_hub(assets):
        return []
    raise UserError(f"{repo} on the hub has no whole split {split}; put the files under assets.root")


def _snapshots(repo: str, repo_type: str, patterns: list[str], assets: Assets) -> Iterator[Path]:
    """A folder of such files of a repository: what the hub's cache has, then, where the hub is asked, what it has.

    Raises UserError where the hub answers with an error.
    """
    for offline in (True, False):
        if not offline and not _asks_hub(assets):
            return
        try:
            folder = huggingface_hub.snapshot_download(
                repo, repo_type=repo_type, allow_patterns=patterns, local_files_only=offline
            )
        except LocalEntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            remedy = "log in, ask for access, try again, or put the files under assets.root"
            raise UserError(f"{repo} on the hub, {', '.join(patterns)}: {error}; {remedy}") from error
        yield Path(folder)


def _asks_hub(assets: Assets) -> bool:
    return assets.hub and hub_answers()


def read_rows(file: Path, texts: Iterable[str], others: Iterable[str] = (), optional: Iterable[str] = ()) -> Dataset:
    """These columns of a parquet file, or of a JSON file that is one list of objects.

    texts: columns whose values are text; those of `optional` may be null too. others: columns of any type; whole
    numbers come as int64 and categories as their values, whatever the file stores them as.
    Raises UserError, with the file, for one that cannot be read, has no rows or lacks a column; with row and column for
    a value that should be text and is null, of another type, or not UTF-8.
    """
    kind, texts, optional = "JSON" if file.suffix == ".json" else "parquet", tuple(texts), set(optional)
    try:
        columns, metadata = _json_columns(file) if kind == "JSON" else _parquet_columns(file)
        wanted = (*texts, *others)
        if missing := sorted(set(wanted) - set(columns)):
            raise UserError(f"{file}: lacks the column {', '.join(missing)}; it has {', '.join(columns)}")
        for name in texts:
            for row, value in enumerate(values(columns[name])):
                if not isinstance(value, str) and not (value is None and name in optional):
                    raise UserError(f"{file}, row {row}: {name} is {value!r:.80}, want text; correct that row")
        table = pyarrow.table({name: columns[name] for name in wanted}, metadata=metadata)
        for name in others:
            table = table.set_column(table.column_names.index(name), name, _plain(table[name]))
        rows = Dataset(table)
    except UNREADABLE as error:
        raise UserError(f"{file}: not a readable {kind} file ({error}); it may be cut short: fetch it anew") from error
    if not len(rows):
        raise UserError(f"{file}: it has no rows; fetch it anew")
    return rows


def values(column: Iterable[Any]) -> Iterator[Any]:
    """Python's values of a column, Arrow's or a list; the bytes of a text that is not UTF-8."""
    for value in column:
        try:
            yield value.as_py() if isinstance(value, pyarrow.Scalar) else value
        except UnicodeDecodeError:
            yield value.as_buffer().to_pybytes()


def _parquet_columns(file: Path) -> tuple[dict[str, pyarrow.ChunkedArray], dict[bytes, bytes] | None]:
    """Columns and metadata. Pages are checked where the file has their checksums."""
    table = pyarrow.parquet.read_table(file, page_checksum_verification=True)
    return dict(zip(table.column_names, table.columns, strict=True)), table.schema.metadata


def _json_columns(file: Path) -> tuple[dict[str, list], None]:
    rows = json.loads(file.read_text(encoding="utf-8-sig"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is no list of objects")
    return {name: [row.get(name) for row in rows] for name in (rows[0] if rows else ())}, None


def _plain(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Categories as their values, and whole numbers as int64: of the type that class names are attached to."""
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type):
        with contextlib.suppress(pyarrow.ArrowInvalid):  # not all of them are whole
            column = column.cast(pyarrow.int64())
    return column


def _revision(path: Path) -> str:
    """Of a file in the hub's cache."""
    return path.parts[path.parts.index("snapshots") + 1]


def _from_hub(name: str, repo: str, wanted: dict[str, str], assets: Assets) -> Source | None:
    """Files of a data set, in the hub's cache or on the hub. `wanted` maps a split to its path in the repository."""
    cached = {
        split: huggingface_hub.try_to_load_from_cache(repo, path, repo_type="dataset") for split, path in wanted.items()
    }
    files = {split: Path(path) for split, path in cached.items() if isinstance(path, str)}
    if set(wanted) != set(files):
        if not _asks_hub(assets):
            return None
        for split, path in wanted.items():
            try:
                files[split] = Path(huggingface_hub.hf_hub_download(repo, path, repo_type="dataset"))
            except EntryNotFoundError as error:
                raise UserError(f"{repo} on the hub has no {path}; put the files under assets.root") from error
    return Source(name, "hub", repo, files, _revision(files[min(wanted)]))


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

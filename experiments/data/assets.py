"""Where models and data come from: a local folder, the hub's cache, the hub, or the miniatures in this repository."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import huggingface_hub
import pyarrow
import pyarrow.parquet
from pydantic import Field, NonNegativeFloat, field_validator

from experiments.data import hub
from experiments.errors import UserError
from experiments.typed import Typed, UserPath

if TYPE_CHECKING:
    from datasets import Dataset

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff")
# What json, pyarrow and datasets raise for a damaged file.
UNREADABLE = (
    *(pyarrow.ArrowException, OSError, ValueError, TypeError),
    *(LookupError, AttributeError, OverflowError, RecursionError),
)
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
EMBEDDED = Path(__file__).parents[1] / "mini"


class Assets(Typed):
    """The folder to search first (models/<name>, datasets/<name>/...), and whether to ask the hub.

    made: the folder of the models that scripts/pretrain_mini.py makes; searched before the hub.
    """

    root: UserPath | None
    made: UserPath
    hub: bool

    @field_validator("root", mode="before")
    @classmethod
    def _empty_is_none(cls, root: Any) -> Any:
        return root or None  # FOURIERFT_ASSETS= means no folder, not the current one

    @field_validator("root")
    @classmethod
    def _is_a_folder(cls, root: Path | None) -> Path | None:
        if root and not root.is_dir():
            default = "FOURIERFT_ASSETS is the default"
            raise ValueError(f"there is no such folder; name one with models/ and datasets/ in it ({default}), or null")
        return root


class Model(Typed):
    """A pre-trained model and the names of its parts; "auto": found in the model.

    miniature: the model that stands in where neither weights nor hub can be had; None: none does.
    """

    name: str
    scale: Literal["paper", "small", "mini"]
    miniature: str | None
    hub: str | None
    local: str
    attention: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["auto"]
    head: tuple[str, ...] | Literal["auto"]
    dropout: NonNegativeFloat | None


@dataclass(frozen=True)
class Source:
    """The files that were found, by name, and their origin. Generated data have none."""

    name: str
    source: Literal["local", "hub", "embedded"]
    id: str
    files: dict[str, Path]
    revision: str | None = None

    def parts(self, split: str) -> list[Path]:
        """The files of a split of data, sorted by name."""
        return [path for name, path in sorted(self.files.items()) if split_of(name) == split]

    def where(self, split: str) -> str:
        """A split's place, for a message: its file, or the set where it has several."""
        parts = self.parts(split)
        return str(parts[0]) if len(parts) == 1 else f"{self.id}, {split}"

    @cached_property
    def sha256(self) -> str:
        """The digest over the digests of the files, sorted by name, and over the names of images, which hold split and
        class."""
        digests = "".join(
            (name if path.suffix.lower() in IMAGE_ENDINGS else "") + sha256(path)
            for name, path in sorted(self.files.items())
        )
        return hashlib.sha256(digests.encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """The fields of a record's `Origin`."""
        known = {"name": self.name, "source": self.source, "id": self.id, "revision": self.revision}
        return known | {"sha256": self.sha256}


def split_of(name: str) -> str:
    """The split of a file: train for train.parquet, for data/train-00000-of-00002-0a1b.parquet, and by its folder for
    default/train/0000.parquet."""
    path = PurePosixPath(name)
    own = path.stem.partition("-")[0]
    return path.parent.name if own not in SPLITS and path.parent.name in SPLITS else own


def find_model(model: Model, assets: Assets) -> Source | None:
    """The files of a pre-trained model; None where they are out of reach.

    Raises UserError for a folder that is incomplete or damaged, and for weights that are not in safetensors.
    """
    from experiments.models import pretrained

    places = [EMBEDDED] if model.scale == "mini" else [assets.root and assets.root / "models", assets.made]
    folder = next((place / model.local for place in places if place and (place / model.local).is_dir()), None)
    if folder == assets.made / model.local and not (folder / pretrained.WEIGHTS).is_file():
        folder = None  # still being made: the weights are written last
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
    """The files of a data set; None where they are out of reach.

    `splits` maps a split to its file in the repository, or to "" where the split's name is enough to find it; locally
    it is <root>/datasets/<name>/<split>.parquet, or .json, or has the name that it has there.
    """
    folder = assets.root and assets.root / "datasets" / name
    if folder and folder.is_dir():
        files = {split: folder / f"{split}.parquet" for split in splits}
        for split, file in files.items():
            others = (file.with_suffix(".json"), folder / PurePosixPath(splits[split]).name)
            files[split] = next((other for other in (file, *others) if other.is_file()), file)
        missing = [str(file) for file in files.values() if not file.is_file()]
        if missing:
            raise UserError(f"missing {', '.join(missing)}; add it, or remove the folder to use the hub")
        return Source(name, "local", name, files)
    return _from_hub(name, {repo: splits}, assets)


def find_images(name: str, repositories: dict[str, str] | None, assets: Assets) -> Source | None:
    """The files of a set of images, parquet or images in one folder per class; None where they are out of reach.

    Locally <root>/datasets/<name>/ holds <split>.parquet (or <split>-*.parquet), or <split>/<class>/<image>, or
    only <class>/<image>, which are train. `repositories` maps a split to its repository on the hub.
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
    """The splits of each repository, as <split> where it is one file and as <split>-<i>-of-<n> where it is several."""
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


def read_rows(file: Path, texts: Iterable[str], others: Iterable[str] = (), optional: Iterable[str] = ()) -> Dataset:
    """Columns of a parquet file, or of a JSON file that is one list of objects.

    texts: columns whose values are text; those of `optional` may be null too. others: columns of any type; whole
    numbers are returned as int64, and categories as their values, however the file stores them.
    Raises UserError, with the file, for one that cannot be read, has no rows or lacks a column; with row and column for
    a value that should be text and is null, of another type, or not UTF-8.
    """
    from datasets import Dataset

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
    """The Python values of a column of Arrow's or of a list; of a text that is not UTF-8, its bytes."""
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
    """Categories as their values, and whole numbers as int64, the type that class names can be attached to."""
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type):
        with contextlib.suppress(pyarrow.ArrowInvalid):  # not all of them are whole
            column = column.cast(pyarrow.int64())
    return column


def read_split(data: Source, split: str, *columns: Iterable[str], **options: Iterable[str]) -> Dataset:
    """The rows of all files of a split. Takes columns, and raises UserError, as `read_rows` does."""
    from datasets import concatenate_datasets

    return concatenate_datasets([read_rows(part, *columns, **options) for part in data.parts(split)])


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

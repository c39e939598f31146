"""A person's own data: a file, a folder of splits, or a data set on the hub, read by `datasets`; and their labels."""

from __future__ import annotations

import glob
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from experiments import processes
from experiments.data import hub
from experiments.data.assets import SPLITS, UNREADABLE, Assets, Source, values
from experiments.errors import UserError
from experiments.typed import user_path

if TYPE_CHECKING:
    from datasets import Dataset

# Ending -> the builder of `datasets` for a file named so.
BUILDERS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
TABLES = tuple(BUILDERS)
# What `datasets` leaves beside the rows, and does not read as rows either.
METADATA = ("config.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json")
REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")  # a name on the hub
CSV = {"keep_default_na": False, "na_values": [""]}  # a text "NA" is a text
DIFFERENT = 0.5  # share of different values in a column, above which its values are no classes
Kind = Literal["classes", "scores"]


def find(data: str, name: str, assets: Assets, endings: Sequence[str]) -> Source:
    """The files of `data` with one of these endings: a file, those in a folder, or those of a set on the hub or in its
    cache. Raises UserError where there are none."""
    path, kinds = user_path(data), ", ".join(endings)
    if path.is_file():
        if path.suffix.lower() not in TABLES or path.suffix.lower() not in endings:
            raise UserError(f"task.data={data}: want a table ({kinds}), or a folder of them")
        return Source(name, "local", data, {f"train{path.suffix}": path})
    if path.is_dir():
        if files := _files(path, endings):
            return Source(name, "local", data, files)
        raise UserError(f"task.data={data}: the folder holds no file in {kinds}")
    patterns = [*(f"*{ending}" for ending in endings), "README.md"]
    named = REPOSITORY.fullmatch(data)
    for folder in hub.snapshots(data, "dataset", patterns, assets.hub, hub.CONVERTED) if named else ():
        if files := _files(folder, endings):
            return Source(name, "hub", data, files, folder.name)
    raise UserError(
        f"task.data={data}: no such file or folder, nor a data set on the hub or in its cache with files in {kinds}; "
        "correct the name"
    )


def _files(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """By their path in the folder; without what is hidden, and METADATA."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.suffix.lower() in endings}
    return {
        name.as_posix(): path
        for name, path in paths.items()
        if name.name not in METADATA and not any(part.startswith(".") for part in name.parts)
    }


def of_config(source: Source, config: str | None) -> Source:
    """The source with the parquet files of one configuration, those of a folder without the split's; or as it is, where
    there are none. Raises UserError where there are several and none is chosen, or none of that name."""
    found: dict[str, dict[str, Path]] = {}
    for name, path in source.files.items():
        if path.suffix == ".parquet":
            folder = PurePosixPath(name).parent
            found.setdefault(str(folder.parent if folder.name in SPLITS else folder), {})[name] = path
    if not found:
        return source
    chosen = config or (next(iter(found)) if len(found) == 1 else "null")
    if chosen not in found:
        raise UserError(
            f"task.config={chosen}: {source.id} has the configurations {', '.join(found)}; choose one of them"
        )
    return replace(source, files=found[chosen])


def read(source: Source, config: str | None) -> dict[str, Dataset]:
    """The rows of each split, with all their columns. A file that the user named is train; in a folder names of files
    or of folders tell, as `datasets.load_dataset` reads them. config: of a set on the hub that has several.

    Raises UserError for a file that cannot be read or has no rows, for a folder whose name is a pattern, and for data
    without a split train.
    """
    from datasets import DatasetDict, load_dataset
    from datasets.exceptions import DatasetsError

    name, path = next(iter(source.files.items()))
    kinds = sorted({PurePosixPath(name).suffix.lower() for name in source.files} - {""})  # questions' names have none
    options: dict[str, Any] = CSV if all(BUILDERS[kind] == "csv" for kind in kinds) else {}
    if user_path(source.id).is_file():
        what, config = BUILDERS[kinds[0]], None
        options = {**options, "data_files": {"train": glob.escape(str(path.absolute()))}}
        options |= {"sep": "\t"} if kinds == [".tsv"] else {}
    else:
        what = str(path.parents[len(PurePosixPath(name).parents) - 1].resolve())
        if re.search(r"[][*?]", what):
            raise UserError(f"{what}: a path with brackets, stars or question marks is a pattern; rename the folder")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = load_dataset(what, config, **options)
    except (*UNREADABLE, RuntimeError, DatasetsError) as error:  # RuntimeError: a script is called as the folder
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise UserError(
            f"{source.id}: cannot be read as {'/'.join(kinds)} ({reason}); "
            "want rows with named columns, the same in every file, and no script beside them"
        ) from error
    if not isinstance(found, DatasetDict) or not len(found.get("train", ())):
        raise UserError(f"{source.id}: no rows of a split train; there are {', '.join(found) or 'none'}")
    if others := sorted(set(found) - set(SPLITS)):
        processes.say(f"{source.id}: {', '.join(others)} left out; used are train, validation and test")
    return {split: found[split] for split in SPLITS if split in found}


def with_texts(
    rows: Dataset, texts: Sequence[str], others: Sequence[str], where: str, optional: Sequence[str] = ()
) -> Dataset:
    """The rows with these columns alone, all of whose `texts` hold more than blanks; the others are left out, and said.
    optional: columns of text that may be empty.

    Raises UserError for a column that is missing or named twice, for a value that is no text, with its row, and where
    no row is left.
    """
    columns = [*texts, *optional, *others]
    if missing := [name for name in columns if name not in rows.column_names]:
        raise UserError(f"{where}: no column {', '.join(missing)}; it has {', '.join(rows.column_names)}")
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise UserError(f"{where}: {twice[0]} is asked for twice; name another column for one of texts and label")
    rows = rows.select_columns(columns)
    kept = set(range(len(rows)))
    for name in (*texts, *optional):
        for row, value in enumerate(values(rows.data.column(name))):
            if not isinstance(value, str | None):
                raise UserError(f"{where}, row {row}: {name} is {value!r:.80}, want text; name another column")
            if name in texts and not (value or "").strip():
                kept.discard(row)
    if len(kept) < len(rows):
        processes.say(
            f"{where}: {len(rows) - len(kept)} of {len(rows)} rows have an empty {' or '.join(texts)}: left out"
        )
    if not kept:
        raise UserError(f"{where}: no row has a {' and a '.join(texts)}; correct the file, or name another column")
    return rows.select(sorted(kept)).flatten_indices()  # a label is read from the table itself


def _labels(rows: Dataset, column: str, where: str) -> list[Any]:
    """The labels in a column. Raises UserError for several a row, for a missing one and for one of another type, with
    its row."""
    labels = list(values(rows.data.column(column)))
    for row, label in enumerate(labels):
        if isinstance(label, list | dict):
            raise UserError(f"{where}, row {row}: {column} is {label!r:.80}: several labels a row are not supported")
        if not isinstance(label, str | int | float) or label != label or label == "":
            raise UserError(f"{where}, row {row}: {column} is {label!r:.80}, want a label; correct or remove that row")
    return labels


def kind_of(rows: Dataset, column: str, where: str) -> Kind:
    """Whether the labels in a column of train are classes (text, whole numbers, true and false) or scores.

    Raises UserError as `_labels` does, and where all are alike.
    """
    from datasets import ClassLabel

    if isinstance(rows.features[column], ClassLabel):
        return "classes"
    labels = _labels(rows, column, where)
    different = set(labels)
    if len(different) == 1:
        raise UserError(f"{where}: {column} is {labels[0]!r:.80} in every row: there is nothing to learn; name another")
    return "scores" if any(isinstance(label, float) and not label.is_integer() for label in different) else "classes"


def class_names(rows: Dataset, column: str, where: str) -> list[str]:
    """The names of the classes in a column of train, sorted; numbers in their order.

    Raises UserError as `_labels` does, and where half the rows have a class of their own.
    """
    from datasets import ClassLabel

    if isinstance(kind := rows.features[column], ClassLabel):
        return kind.names
    labels = _labels(rows, column, where)
    counts = Counter(map(as_text, labels))
    if len(counts) > max(2, DIFFERENT * len(rows)):
        told = f"{len(counts)} different values in {len(rows)} rows are no classes"
        raise UserError(f"{where}: {column}: {told}; name another column, or task.kind=scores for numbers")
    numbers = all(type(label) in (int, float) for label in labels)
    names = sorted(counts, key=float if numbers else str)
    say_classes({name: counts[name] for name in names}, where)
    return names


def say_classes(counts: dict[str, int], where: str) -> None:
    """Print the classes, with their rows."""
    processes.say(f"{where}: {len(counts)} classes: {', '.join(f'{name} ({n:,})' for name, n in counts.items())}")


def as_text(label: Any) -> str:
    """A label as the name of a class: 3.0 is "3"."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def labelled(rows: Dataset, column: str, names: Sequence[str], where: str) -> Dataset:
    """The rows with a column `label`: classes of these names, or, without names, scores as float32.

    Raises UserError as `_labels` does, for a label that train lacks and for a score that is no number, with its row.
    """
    from datasets import ClassLabel, Value

    from experiments.data.labels import as_classes

    labels = _labels(rows, column, where)
    rows = rows if column == "label" else rows.rename_column(column, "label")
    if names and not isinstance(rows.features["label"], ClassLabel):
        numbers = {name: number for number, name in enumerate(names)}
        for row, label in enumerate(labels):
            if as_text(label) not in numbers:
                raise UserError(
                    f"{where}, row {row}: {column} is {label!r:.80}, which no row of train is; want one of "
                    f"{', '.join(names)}: correct or remove that row"
                )
        classes = [numbers[as_text(label)] for label in labels]
        return rows.remove_columns("label").add_column("label", classes, feature=ClassLabel(names=list(names)))
    if names:
        return as_classes(rows, "label", names, where)
    for row, label in enumerate(labels):
        if isinstance(label, bool) or not isinstance(label, int | float):
            raise UserError(f"{where}, row {row}: {column} is {label!r:.80}, want a number; correct or remove that row")
    return rows.cast_column("label", Value("float32"))


def unlabelled(rows: Dataset, column: str) -> bool:
    """Whether no row has a label: the hub's test sets hold -1 or nothing."""
    return column not in rows.column_names or all(
        label in (None, "", -1, "-1") for label in values(rows.data.column(column))
    )

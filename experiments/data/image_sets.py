"""Sets of images: the files, rows and classes of a split, splits that a set lacks, and unreadable images."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from datasets import ClassLabel, Dataset, Features, Image, concatenate_datasets

from experiments import progress
from experiments.data.assets import SPLITS, UNREADABLE, Source, read_rows, split_of, values
from experiments.data.images import NO_IMAGE, decode
from experiments.data.labels import as_classes
from experiments.errors import UserError
from experiments.record import usable_cores

UNDECODED = Image(decode=False)


def read(source: Source, image: str, label: str, classes: int | None) -> dict[str, Dataset]:
    """The splits of the source: rows of an `image`, undecoded, and a `label`, a class by the names of train's.

    `image`, `label`: the columns of parquet files. Images in folders take their class from the folder.
    Raises UserError for a file that cannot be read, a column that is missing, a label that is none, or a split of other
    classes or of another number of them.
    """
    files = {name: path for name, path in source.files.items() if path.suffix == ".parquet"}
    if not files:
        return _from_folders(source, classes)
    for name in files:
        if split_of(name) not in SPLITS:
            raise UserError(f"{files[name]}: no split of that name; want {', '.join(SPLITS)}: rename or remove it")
    splits, names = {}, None
    for split in SPLITS:
        shards = {path: _shard(path, image, label) for name, path in files.items() if split_of(name) == split}
        if shards:
            names = names or _counted(_class_names(list(shards.values()), classes), classes, source)
            named = [as_classes(rows, "label", names, str(path)) for path, rows in shards.items()]
            splits[split] = concatenate_datasets(named)
    return splits


def _shard(path: Path, image: str, label: str) -> Dataset:
    """Rows of an undecoded `image` and a `label`. Raises UserError."""
    rows = read_rows(path, (), (image, label)).rename_columns({image: "image", label: "label"})
    try:
        return rows.cast_column("image", UNDECODED)
    except UNREADABLE as error:
        raise UserError(f"{path}: {image} is no column of images ({error}); name theirs, task.image=...") from error


def _class_names(shards: list[Dataset], classes: int | None) -> list[str]:
    """The names of the classes: from the files, from labels that are text, or numbers."""
    kind = shards[0].features["label"]
    if isinstance(kind, ClassLabel):
        return kind.names
    labels = {label for rows in shards for label in values(rows.data.column("label"))}
    texts = sorted(label for label in labels if isinstance(label, str))
    numbers = range(classes) if classes else sorted(label for label in labels if type(label) is int)
    return texts or list(map(str, numbers))


def _counted(names: list[str], classes: int | None, source: Source) -> list[str]:
    """The names. Raises UserError where there are more or fewer than `classes`, if that is told."""
    if len(names) != (classes or len(names)):
        told = f"{len(names)} classes where the set has {classes}"
        raise UserError(f"{source.id}: {told}; task.classes={len(names)} if meant")
    return names


def _from_folders(source: Source, classes: int | None) -> dict[str, Dataset]:
    """Images in <split>/<class>/, or only in <class>/, which are train."""
    found: dict[str, dict[str, list[Path]]] = {}
    for name, path in source.files.items():
        above = PurePosixPath(name).parent.parts
        if len(above) not in (1, 2) or (len(above) == 2 and above[0] not in SPLITS):
            raise UserError(f"{path}: want images in <class>/ or in <split>/<class>/, split one of {', '.join(SPLITS)}")
        if len(above) == 1 and above[0] in SPLITS:
            raise UserError(
                f"{path}: an image of {above[0]} without a class; move it to {above[0]}/<class>/, or remove it; where "
                f"{above[0]} is a class, move all classes to train/"
            )
        split, kind = above if len(above) == 2 else ("train", above[0])
        found.setdefault(split, {}).setdefault(kind, []).append(path)
    names = sorted(found.get("train", {}))
    if "train" in found:
        _counted(names, classes, source)
    splits = {}
    for split, kinds in found.items():
        if unknown := sorted(set(kinds) - set(names)):
            raise UserError(f"{source.id}/{split}: {', '.join(unknown)} is no class of train, which has {names}")
        rows = [(str(path), kind) for kind in names for path in sorted(kinds.get(kind, []))]
        splits[split] = Dataset.from_dict(
            {"image": [{"bytes": None, "path": path} for path, _ in rows], "label": [kind for _, kind in rows]},
            features=Features({"image": UNDECODED, "label": ClassLabel(names=names)}),
        )
    return splits


def complete(
    splits: dict[str, Dataset], validation: float | None, test: float | None, seed: int, where: str
) -> dict[str, Dataset]:
    """All three splits. A missing one is a share of train, drawn with `seed`; None: the set should have it.

    The share of test is of all rows of train, that of validation of what test leaves.
    Raises UserError where a split is missing that the set should have.
    """
    splits = dict(splits)
    for name, share in (("test", test), ("validation", validation)):
        if name in splits:
            continue
        if share is None or "train" not in splits:
            there = ", ".join(splits) or "none"
            lacking = name if "train" in splits else "train"
            raise UserError(f"{where}: no split {lacking}; the set has one of its own, here there are: {there}. Add it")
        halves = splits["train"].train_test_split(test_size=share, seed=seed)
        splits |= {"train": halves["train"], name: halves["test"]}
    return {name: splits[name] for name in SPLITS}


def readable(rows: Dataset, skip: bool, where: str) -> Dataset:
    """The rows whose image decodes, in order. Every image is decoded once, so that no bad one ends a run later.

    Raises UserError, naming the first file and how many, where one does not and `skip` is false, or where none does.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:  # Pillow decodes without the interpreter's lock
        faults = []
        with progress.counter(len(rows), f"checking {where}") as bar:
            for fault in pool.map(lambda row: _fault(rows, row), range(len(rows))):
                faults.append(fault)
                bar.update()
    bad = [row for row, fault in enumerate(faults) if fault]
    if not bad:
        return rows
    told = f"{where}: {faults[bad[0]]}; {len(bad)} of {len(rows)} rows are like that"
    if not skip or len(bad) == len(rows):
        raise UserError(f"{told}. Fetch them anew, or leave them out with task.unreadable=skip")
    print(f"{told}: left out")
    return rows.select([row for row, fault in enumerate(faults) if not fault])


def _fault(rows: Dataset, row: int) -> str | None:
    """What is wrong with the image of a row, and its file if it has one."""
    name = f"row {row}"
    try:
        image = rows[row]["image"]
        name = (image or {}).get("path") or name
        decode(image)
    except NO_IMAGE as error:
        return f"{name} is not a readable image ({str(error).partition(chr(10))[0] or type(error).__name__})"
    return None

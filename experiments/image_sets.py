"""Sets of images: which files hold a split, its rows and classes, the splits that a set lacks, images that are none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, concatenate_datasets
from PIL import Image as Pillow
from tqdm import tqdm

from experiments.assets import Source, read_rows, split_of
from experiments.errors import UserError
from experiments.images import decode
from experiments.record import usable_cores

SPLITS = ("train", "validation", "test")
UNDECODED = Image(decode=False)


def read(source: Source, image: str, label: str) -> dict[str, Dataset]:
    """The splits that the source has: rows of an `image`, undecoded, and a `label`, a class where names are known.

    `image`, `label`: the columns of parquet files. Images in folders take their class from the folder.
    Raises UserError for a file that cannot be read, a column that is missing, or a split of other classes.
    """
    files = {name: path for name, path in source.files.items() if path.suffix == ".parquet"}
    if not files:
        return _from_folders(source)
    for name in files:
        if split_of(name) not in SPLITS:
            raise UserError(f"{files[name]}: no split of that name; want {', '.join(SPLITS)}: rename or remove it")
    splits = {}
    for split in SPLITS:
        shards = [read_rows(path, (image, label)) for name, path in files.items() if split_of(name) == split]
        if shards:
            rows = concatenate_datasets([shard.select_columns([image, label]) for shard in shards])
            rows = rows.rename_columns({image: "image", label: "label"})
            splits[split] = rows.cast_column("image", UNDECODED)
    return splits


def _from_folders(source: Source) -> dict[str, Dataset]:
    """Images in <split>/<class>/, or in <class>/ alone: all of them train."""
    found: dict[str, dict[str, list[Path]]] = {}
    for name, path in source.files.items():
        above = PurePosixPath(name).parent.parts
        if len(above) not in (1, 2) or (len(above) == 2 and above[0] not in SPLITS):
            raise UserError(f"{path}: want images in <class>/ or in <split>/<class>/, split one of {', '.join(SPLITS)}")
        split, kind = above if len(above) == 2 else ("train", above[0])
        found.setdefault(split, {}).setdefault(kind, []).append(path)
    names = sorted(found.get("train", {}))
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
    """All three splits. One that is missing is a share of train, drawn with `seed`; None: the set has one of its own.

    The share of test is of all rows of train, that of validation of what test leaves.
    Raises UserError where a split is missing that should be there.
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


def class_names(rows: Dataset, classes: int, where: str) -> tuple[str, ...]:
    """The names of the classes, or their numbers where the file has none. Raises UserError where there are others."""
    kind = rows.features["label"]
    names = tuple(kind.names) if isinstance(kind, ClassLabel) else tuple(map(str, range(classes)))
    if len(names) != classes:
        raise UserError(
            f"{where}: {len(names)} classes where the set has {classes}; task.classes={len(names)} if meant"
        )
    return names


def named(rows: Dataset, names: tuple[str, ...], where: str) -> Dataset:
    """The rows, their labels known as classes of these names. Raises UserError where they go by other names."""
    kind, own = ClassLabel(names=list(names)), rows.features["label"]
    if own == kind:
        return rows
    if isinstance(own, ClassLabel):
        raise UserError(f"{where}: its classes are {own.names}, not train's {list(names)}; they have to be the same")
    return rows.cast_column("label", kind)


def labels(rows: Dataset, where: str) -> np.ndarray:
    """The labels (rows,). Raises UserError where they are no whole numbers."""
    found = np.asarray(rows["label"][:])
    if len(found) and found.dtype.kind not in "iu":
        raise UserError(f"{where}: labels are {found.dtype}, want whole numbers; name their column, task.label=...")
    return found


def readable(rows: Dataset, skip: bool, where: str) -> Dataset:
    """The rows whose image decodes, in their order; decodes every one, so that a run does not end at a bad one.

    Raises UserError, naming the first file and how many, where one does not and `skip` is false, or where none does.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:  # Pillow decodes without the interpreter's lock
        faults = list(
            tqdm(pool.map(lambda i: _fault(rows[i]["image"]), range(len(rows))), f"checking {where}", len(rows))
        )
    bad = [i for i, fault in enumerate(faults) if fault]
    if not bad:
        return rows
    first = (rows[bad[0]]["image"] or {}).get("path") or f"row {bad[0]}"
    told = f"{where}: {first} is not a readable image ({faults[bad[0]]}); {len(bad)} of {len(rows)} rows are like that"
    if not skip or len(bad) == len(rows):
        raise UserError(f"{told}. Fetch them anew, or leave them out with task.unreadable=skip")
    print(f"{told}: left out")
    return rows.select([i for i, fault in enumerate(faults) if not fault])


def _fault(image: dict) -> str | None:
    try:
        decode(image)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:  # what Pillow raises
        return str(error).partition("\n")[0] or type(error).__name__
    return None

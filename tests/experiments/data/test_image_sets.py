"""Sets of images: where they are found, how they are split, and what is said of those that are wrong."""

import io
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pyarrow
import pytest
from PIL import Image

from experiments.data import image_sets
from experiments.data.assets import SPLITS, Assets, find_images
from experiments.errors import UserError

NAMES = ["cat", "dog"]


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def parquet(path, count=20, first=0, labels=None, names=NAMES, column="image"):
    """A parquet file of images with labels 0, 1, 0, 1, ..."""
    labels = [i % 2 for i in range(count)] if labels is None else labels
    kind = datasets.ClassLabel(names=names) if names else datasets.Value("string" if "cat" in labels else "int64")
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(
        {column: [{"bytes": png(first + i), "path": f"{i}.png"} for i in range(count)],
         "label": labels},
        features=datasets.Features({column: datasets.Image(), "label": kind}),
    ).to_parquet(path)  # fmt: skip


def pictures(folder, count, first=0):
    """`count` image files in a folder a class."""
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i}.png").write_bytes(png(first + i))


@pytest.fixture
def task(make, tmp_path):
    """The task of CIFAR-10, of two classes, and a reader of what stands in a folder called cifar10."""

    def task(*more):
        return make("+exp=vit_cifar", "model=vit_mini", "task.classes=2", "task.image=image", *more).task

    return task


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "datasets" / "cifar10"


def source(tmp_path, name="cifar10", repositories=None):
    return find_images(name, repositories, Assets(root=tmp_path, made=tmp_path / "made", hub=False))


def contents(rows):
    return [row["bytes"] or Path(row["path"]).read_bytes() for row in rows["image"]]


def test_parquet_files_and_folders_of_images_are_the_same_set(task, folder, tmp_path):
    """Split by split: the same pixels, labels and names of classes."""
    for split, first in (("train", 0), ("test", 100)):
        pictures(folder / split, 10, first)
    folders = task().read(source(tmp_path))
    for split, rows in folders.items():
        rows = rows.map(lambda row: {"image": {"bytes": Path(row["image"]["path"]).read_bytes(), "path": None}})
        (tmp_path / "datasets" / "other").mkdir(exist_ok=True)
        rows.to_parquet(tmp_path / "datasets" / "other" / f"{split}.parquet")
    files = task().read(source(tmp_path, "other"))
    assert {split: len(rows) for split, rows in files.items()} == {"train": 18, "validation": 2, "test": 20}
    for split in SPLITS:
        assert contents(folders[split]) == contents(files[split])
        assert folders[split]["label"][:] == files[split]["label"][:]
        assert folders[split].features["label"].names == files[split].features["label"].names == NAMES


def test_classes_are_train_s_by_name_in_every_file(task, folder, tmp_path):
    """In another order, as text, or by number where a file has no names."""
    parquet(folder / "train.parquet", 4)
    parquet(folder / "validation.parquet", 4, names=None, labels=["cat", "dog"] * 2)
    parquet(folder / "test-00000-of-00002.parquet", 4, names=NAMES[::-1], labels=[1, 0] * 2)
    parquet(folder / "test-00001-of-00002.parquet", 4, names=None)
    for rows in task().read(source(tmp_path)).values():
        assert rows["label"][:] == [0, 1] * (len(rows) // 2) and rows.features["label"].names == NAMES
    parquet(folder / "train.parquet", 4, names=None, labels=["cat", "dog"] * 2)
    assert task().read(source(tmp_path))["test"]["label"][:] == [0, 1] * 4


def test_images_in_a_folder_a_class_alone_are_split_with_a_seed(task, folder, tmp_path):
    pictures(folder, 20)
    with pytest.raises(UserError, match=r"no split test; the set has one of its own, here there are: train"):
        task().read(source(tmp_path))
    splits = task("task.test_share=0.25").read(source(tmp_path))
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 27, "validation": 3, "test": 10}
    paths = [image["path"] for rows in splits.values() for image in rows["image"]]
    assert len(set(paths)) == len(paths) == 40, "no image in two splits"
    again, other = (task("task.test_share=0.25", f"task.split_seed={seed}").read(source(tmp_path)) for seed in (0, 1))
    assert [contents(rows) for rows in again.values()] == [contents(rows) for rows in splits.values()]
    assert contents(other["test"]) != contents(splits["test"])


def test_a_split_of_its_own_is_kept(task, folder, tmp_path):
    for split, count in (("train", 12), ("validation", 4), ("test", 6)):
        parquet(folder / f"{split}.parquet", count)
    assert {k: len(v) for k, v in task().read(source(tmp_path)).items()} == {"train": 12, "validation": 4, "test": 6}


def test_the_hub_s_cache_is_read_shard_by_shard_and_only_whole(task, tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    repositories = {"train": "some/cifar_train", "test": "some/cifar_test"}
    for split, repo in repositories.items():
        snapshot = cache / f"datasets--{repo.replace('/', '--')}" / "snapshots" / f"rev{split}"
        for i in range(2):
            parquet(snapshot / "data" / f"{split}-0000{i}-of-00002-0a1b.parquet", 10, first=10 * i)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text(f"rev{split}")
    found = source(tmp_path, "cifar10", repositories)
    assert (found.source, found.id, found.revision) == ("hub", "some/cifar_train, some/cifar_test", "revtrain, revtest")
    assert {k: len(v) for k, v in task().read(found).items()} == {"train": 18, "validation": 2, "test": 20}
    next((cache / "datasets--some--cifar_test").rglob("*-00001-of-*")).unlink()
    assert source(tmp_path, "cifar10", repositories) is None, "a part of a split is not the split"


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ({}, {"labels": [0, 7] * 10}, r"test\.parquet, row 1: label is 7, want one of 0\.\.1; use a labelled split"),
        ({"names": None}, {"names": None, "labels": [-1] * 20}, r"test\.parquet, row 0: label is -1, want one of"),
        ({}, {"names": None, "labels": ["cat", "bird"] * 10}, r"row 1: label is 'bird', want one of \['cat', 'dog'\]"),
        ({}, {"count": 0, "labels": []}, r"test\.parquet: it has no rows"),
        ({}, {"names": ["dog", "bird"]}, r"the classes of label are \['dog', 'bird'\], want \['cat', 'dog'\]"),
        ({"names": ["a", "b", "c"]}, {}, r"3 classes where the set has 2; .*task\.classes=3"),
        ({"column": "picture"}, {}, r"train\.parquet: lacks the column image; it has picture, label"),
        ({}, None, r"no split test; the set has one of its own, here there are: train"),
        (None, {}, r"no split train; .*here there are: test"),
    ],
)  # fmt: skip
def test_a_set_that_is_not_as_it_should_be_is_named(task, folder, tmp_path, train, test, message):
    for split, options in (("train", train), ("test", test)):
        if options is not None:
            if 7 in options.get("labels", []):
                options = {**options, "names": None}  # a class label could not hold it
            parquet(folder / f"{split}.parquet", **options)
    with pytest.raises(UserError, match=message):
        task().read(source(tmp_path))


def test_what_holds_no_split_is_refused_and_an_image_of_nothing_is_none(task, folder, tmp_path):
    for name in ("train", "test", "val"):
        parquet(folder / f"{name}.parquet")
    with pytest.raises(UserError, match=r"val\.parquet: no split of that name; want train, validation, test"):
        task().read(source(tmp_path))
    for nothing in (None, {"bytes": None, "path": None}, {"bytes": b"", "path": None}):
        cells = pyarrow.array([{"bytes": png(0), "path": None}, nothing], image_sets.UNDECODED.pa_type)
        rows = datasets.Dataset(pyarrow.table({"image": cells, "label": [0, 1]})).cast_column(
            "image", image_sets.UNDECODED
        )
        assert image_sets.readable(rows, skip=True, where="cats")["label"][:] == [0]
        with pytest.raises(UserError, match=r"cats: row 1 is not a readable image \(neither bytes nor a file\)"):
            image_sets.readable(rows, skip=False, where="cats")


def test_the_digest_of_a_set_of_folders_tells_its_labels(folder, tmp_path):
    pictures(folder, 4)
    before = source(tmp_path).identity()["sha256"]
    assert source(tmp_path).identity()["sha256"] == before
    (folder / "cat" / "3.png").rename(folder / "dog" / "-1.png")
    moved = source(tmp_path).identity()["sha256"]
    (folder / "cat").rename(folder / "bird")
    assert len({before, moved, source(tmp_path).identity()["sha256"]}) == 3


def test_an_unknown_class_or_folder_is_named(task, folder, tmp_path):
    pictures(folder / "train", 4)
    pictures(folder / "test", 4)
    (folder / "test" / "cat").rename(folder / "test" / "cta")
    with pytest.raises(UserError, match=r"cifar10/test: cta is no class of train, which has \['cat', 'dog'\]"):
        task().read(source(tmp_path))
    (folder / "test").rename(folder / "tset")
    with pytest.raises(UserError, match=r"want images in <class>/ or in <split>/<class>/"):
        task().read(source(tmp_path))


def test_images_of_a_split_without_classes_are_no_class(task, folder, tmp_path):
    pictures(folder / "train", 4)
    (folder / "test").mkdir()
    (folder / "test" / "1.png").write_bytes(png(1))
    with pytest.raises(UserError, match=r"test/1\.png: an image of test without a class; move it to test/<class>/"):
        task().read(source(tmp_path))


def test_an_empty_folder_is_named(folder, tmp_path):
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match=r"cifar10: holds neither <split>\.parquet nor images"):
        source(tmp_path)
    assert source(tmp_path, "pets") is None


def test_an_image_that_is_none_is_named_or_left_out_and_counted(folder, tmp_path, capsys):
    pictures(folder, 5)
    (folder / "cat" / "3.png").write_bytes(png(3)[:60])
    (folder / "dog" / "4.png").write_text("no image")
    rows = image_sets.read(source(tmp_path), "image", "label", 2)["train"]
    with pytest.raises(UserError, match=r"cat/3\.png is not a readable image .*; 2 of 10 rows .*task\.unreadable=skip"):
        image_sets.readable(rows, skip=False, where="cats, train")
    left = image_sets.readable(rows, skip=True, where="cats, train")
    assert left["label"][:] == [0] * 4 + [1] * 4
    assert "2 of 10 rows are like that: left out" in capsys.readouterr().out
    for path in folder.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(UserError, match=r"10 of 10 rows"):
        image_sets.readable(rows, skip=True, where="cats, train")

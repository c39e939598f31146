"""A person's own data: every form that they have, and what is said of what cannot be used."""

import json
from pathlib import Path

import datasets
import pandas as pd
import pytest
from PIL import Image

from experiments.errors import UserError

ROWS = [{"text": f"a text of number {i}", "label": ("good", "bad", "so")[i % 3]} for i in range(30)]
WRITERS = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "json": lambda table, path: table.to_json(path, orient="records"),
    "jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "parquet": lambda table, path: table.to_parquet(path),
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(rows, "reviews.csv") -> the file's path, relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def write(rows: list[dict], name: str = "reviews.csv") -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        WRITERS[name.rpartition(".")[2]](pd.DataFrame(rows), name)
        return name

    return write


@pytest.fixture
def load(make):
    """load("own_text", "reviews.csv", ...) -> the source and the splits of an experiment."""

    def load(exp: str, data: str, *more: str):
        config = make(f"+exp={exp}", "scale=auto", f"task.data={data}", *more)
        source = config.task.find(config.assets, mini=False)
        return source, config.task.load(source)

    return load


@pytest.mark.parametrize("kind", WRITERS)
def test_a_table_is_read_in_every_form(write, load, kind):
    source, splits = load("own_text", write(ROWS, f"my reviews.{kind}"))
    assert (source.name, source.source, source.id) == ("my_reviews", "local", f"my reviews.{kind}")
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 27, "validation": 3}
    names = splits["train"].features["label"].names
    assert names == ["bad", "good", "so"]
    read = {(row["text"], names[row["label"]]) for rows in splits.values() for row in rows}
    assert read == {(row["text"], row["label"]) for row in ROWS}


def test_a_file_is_read_whatever_its_name_and_its_neighbours(write, load):
    write(changed(text=lambda i: f"another {i}"), "reviews/reviews1.csv")
    Path("reviews/reviews.py").write_text("")
    write(ROWS, "reviews/reviews[1].csv")
    Path(write(ROWS, "reviews/some.tsv")).rename("reviews/SOME.TSV")
    for name in ("reviews[1].csv", "SOME.TSV"):
        _, splits = load("own_text", f"'reviews/{name}'", "task.name=reviews")
        assert {text for rows in splits.values() for text in rows["text"]} == {row["text"] for row in ROWS}


def test_a_folder_that_cannot_be_listed_is_named(write, load):
    for folder in ("reviews", "my[1]"):
        for split in ("train", "test"):
            write(ROWS, f"{folder}/{split}.csv")
    with pytest.raises(UserError, match=r"my\[1\]: .* a pattern; rename the folder"):
        load("own_text", "'my[1]'", "task.name=mine")
    Path("reviews/reviews.py").write_text("")
    with pytest.raises(UserError, match=r"but found reviews\.py\); want .* no script beside them"):
        load("own_text", "reviews")


def test_a_folder_has_a_file_for_each_split(write, load):
    for split, count in (("train", 30), ("validation", 6), ("test", 9)):
        write(ROWS[:count], f"reviews/{split}.csv")
    source, splits = load("own_text", "reviews")
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 30, "validation": 6, "test": 9}
    assert sorted(source.files) == ["test.csv", "train.csv", "validation.csv"]


def test_a_folder_without_train_is_named_however_few_its_files(write, load):
    write(ROWS, "reviews/test.csv")
    with pytest.raises(UserError, match="reviews: no rows of a split train; there are test"):
        load("own_text", "reviews")


def test_what_is_hidden_and_what_tells_of_a_set_are_no_rows(write, load):
    rows = changed(label=lambda i: ("NA", "null")[i % 2])
    write(rows, "reviews/train.csv")
    write(ROWS, "reviews/.cache/train.csv")
    for name in ("dataset_info.json", "dataset_infos.json", "config.json", "dataset_dict.json"):
        Path(f"reviews/{name}").write_text("{}")
    source, splits = load("own_text", "reviews")
    assert list(source.files) == ["train.csv"]
    assert splits["train"].features["label"].names == ["NA", "null"]


def test_the_digest_is_that_of_the_content(write, load):
    first, _ = load("own_text", write(ROWS))
    again, _ = load("own_text", write(ROWS, "elsewhere/train.csv"))
    other, _ = load("own_text", write(ROWS[1:], "other.csv"))
    assert first.sha256 == again.sha256 != other.sha256


def test_the_validation_split_is_the_same_in_every_run(write, load):
    name = write(ROWS)
    held_out = [
        set(load("own_text", name, *more)[1]["validation"]["text"]) for more in ((), (), ("task.split_seed=1",))
    ]
    assert held_out[0] == held_out[1] != held_out[2]


@pytest.mark.parametrize(
    ("labels", "more", "names"),
    [
        ([10, 9, 2], [], ["2", "9", "10"]),
        ([True, False, True], [], ["False", "True"]),
        ([1.0, 2.0, 3.0], [], ["1", "2", "3"]),
        (["NA", "null", "b"], [], ["NA", "b", "null"]),
        ([1, 2, 3], ["task.kind=scores"], None),
        ([0.5, 1.0, 2.25], [], None),
    ],
    ids=str,
)
def test_labels_are_classes_or_scores(write, load, labels, more, names):
    rows = [{"text": row["text"], "label": labels[i % 3]} for i, row in enumerate(ROWS)]
    _, splits = load("own_text", write(rows), *more)
    kind = splits["train"].features["label"]
    if names:
        assert kind.names == names
        assert splits["train"][:]["label"] == [
            names.index(str(label_of(rows, text))) for text in splits["train"]["text"]
        ]
    else:
        assert kind.dtype == "float32"
        assert splits["train"][:]["label"] == [label_of(rows, text) for text in splits["train"]["text"]]


def label_of(rows: list[dict], text: str):
    label = next(row["label"] for row in rows if row["text"] == text)
    return int(label) if isinstance(label, float) and label.is_integer() else label


def test_a_row_without_a_text_is_left_out_and_said(write, load, capsys):
    rows = [{**row, "text": "  " if i == 3 else None if i == 5 else row["text"]} for i, row in enumerate(ROWS)]
    _, splits = load("own_text", write(rows))
    assert sum(map(len, splits.values())) == 28
    assert "reviews.csv, train: 2 of 30 rows have an empty text: left out" in capsys.readouterr().out


def test_a_test_split_without_labels_is_left_out_and_said(write, load, capsys):
    write(ROWS, "reviews/train.jsonl")
    write([{**row, "label": -1} for row in ROWS], "reviews/test.jsonl")
    assert "test" not in load("own_text", "reviews")[1]
    assert "test: no labels: left out" in capsys.readouterr().out


def changed(**fields) -> list[dict]:
    return [{**row, **{name: value(i) for name, value in fields.items()}} for i, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("rows", "name", "more", "told"),
    [
        (ROWS, "reviews.csv", ["task.label=stars"], "no column stars; it has text, label"),
        (ROWS, "reviews.csv", ["task.inputs=[question,text]"], "no column question; it has text, label"),
        (ROWS, "reviews.csv", ["task.label=text"], "text is asked for twice"),
        (changed(label=lambda i: "good"), "reviews.csv", [], "label is 'good' in every row"),
        (changed(label=lambda i: ["a", "b"][: i % 3]), "reviews.jsonl", [], r"several labels a row"),
        (changed(label=lambda i: None if i == 4 else "ab"[i % 2]), "reviews.csv", [], "row 4: label is None"),
        (
            changed(label=lambda i: None if i == 4 else "ab"[i % 2]),
            "r.csv",
            ["task.kind=classes"],
            "row 4: label is None",
        ),
        (changed(label=lambda i: f"id {i}"), "reviews.csv", [], "30 different values in 30 rows.*kind=scores"),
        (changed(text=lambda i: i), "reviews.csv", [], "row 0: text is 0, want text"),
        (changed(text=lambda i: ""), "reviews.csv", [], "no row has a text"),
        (ROWS, "reviews.csv", ["task.kind=scores"], "label is 'good', want a number"),
        (changed(label=lambda i: i % 2)[:3], "reviews.csv", [], "3 rows are too few"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_trained_on_is_named(write, load, rows, name, more, told):
    with pytest.raises(UserError, match=told):
        load("own_text", write(rows, name), *more)


def test_a_label_that_train_lacks_is_named(write, load):
    write(ROWS, "reviews/train.csv")
    write(changed(label=lambda i: "awful" if i == 2 else "good"), "reviews/validation.csv")
    with pytest.raises(
        UserError, match=r"validation, row 2: label is 'awful', which no row of train is.*bad, good, so"
    ):
        load("own_text", "reviews")


@pytest.mark.parametrize("label", [None, ""])
def test_a_missing_label_is_no_class_of_that_name(write, load, label):
    write(changed(label=lambda i: ("good", "None", "bad")[i % 3]), "reviews/train.jsonl")
    write(changed(label=lambda i: label if i == 2 else "good"), "reviews/validation.jsonl")
    with pytest.raises(UserError, match=f"validation, row 2: label is {label!r}, want a label"):
        load("own_text", "reviews")


def test_several_labels_a_row_are_named_where_there_is_a_test_split_too(write, load):
    for split in ("train", "test"):
        write(changed(label=lambda i: ["a", "b"]), f"reviews/{split}.jsonl")
    with pytest.raises(UserError, match="several labels a row are not supported"):
        load("own_text", "reviews")


def test_a_metric_that_the_labels_do_not_have_is_named(write, make):
    config = make("+exp=own_text", "scale=auto", f"task.data={write(ROWS)}", "task.metric=pearson")
    from experiments import pipeline

    with pytest.raises(UserError, match=r"task\.metric=pearson: classes are judged by accuracy"):
        pipeline.run(config)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("reviews.csv", b"\x89PNG\r\n\x1a\n\x00\x00", "reviews.csv: cannot be read as .csv"),
        ("reviews.csv", b'text,label\n"a,b\n', "reviews.csv: cannot be read as .csv"),
        ("reviews.json", b"{", "reviews.json: cannot be read as .json"),
        ("reviews.parquet", b"PAR1", "reviews.parquet: cannot be read as .parquet"),
        ("reviews.csv", b"text,label\n", "corresponds to no data"),
        ("reviews.docx", b"", r"want a table \(.csv"),
    ],
)
def test_a_file_that_is_no_table_is_named(write, load, name, content, told):
    Path(name).write_bytes(content)
    with pytest.raises(UserError, match=told):
        load("own_text", name)


def test_data_that_are_nowhere_are_named(write, load):
    with pytest.raises(
        UserError, match=r"task\.data=nobody/nothing: no such file or folder, nor a data set on the hub"
    ):
        load("own_text", "nobody/nothing", "assets.hub=false")
    Path("empty").mkdir()
    with pytest.raises(UserError, match=r"task\.data=empty: the folder holds no file in .csv"):
        load("own_text", "empty")


def paint(*paths: str) -> None:
    for i, path in enumerate(paths):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (i % 256, 0, 9)).save(path)


def test_images_in_folders_have_as_many_classes_as_there_are(write, load, capsys):
    paint(*(f"photos/{kind}/{i}.png" for kind in ("cat", "dog", "owl") for i in range(10)))
    source, splits = load("own_images", "photos", "model=vit_mini")
    assert (source.name, splits["train"].features["label"].names) == ("photos", ["cat", "dog", "owl"])
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 27, "validation": 3}
    assert "photos, train: 3 classes: cat (10), dog (10), owl (10)" in capsys.readouterr().out
    paint("one/cat/1.png")
    with pytest.raises(UserError, match="one: one class, cat"):
        load("own_images", "one", "model=vit_mini")


def shard(path: str, count: int) -> None:
    """A parquet file of images, as the hub has them."""
    paint("one.png")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    rows = {"image": [{"bytes": Path("one.png").read_bytes(), "path": None}] * count, "label": [0, 1] * (count // 2)}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).to_parquet(path)


def test_images_in_parquet_are_of_the_split_and_configuration_that_their_place_tells(write, load):
    shard("photos/full/train/0000.parquet", 20)
    shard("photos/full/test/0000.parquet", 6)
    shard("photos/mini/train-00000-of-00001.parquet", 10)
    for config, rows in (("full", [18, 2, 6]), ("mini", [9, 1])):
        _, splits = load("own_images", "photos", "model=vit_mini", f"task.config={config}")
        assert [len(splits[split]) for split in ("train", "validation", "test") if split in splits] == rows
    for config in ("null", "big"):
        with pytest.raises(
            UserError, match=rf"task\.config={config}: photos has the configurations full, mini; choose"
        ):
            load("own_images", "photos", "model=vit_mini", f"task.config={config}")


CHAT = [
    {"role": "system", "content": "Be kind."},
    *({"role": role, "content": f"{role} says {i}"} for i in range(2) for role in ("user", "assistant")),
]


def test_conversations_give_a_row_for_each_answer(write, load):
    Path("chats.jsonl").write_text("".join(json.dumps({"messages": CHAT}) + "\n" for _ in range(10)))
    _, splits = load("own_instructions", "chats.jsonl", "model=llama_mini")
    rows = [*splits["train"], *splits["validation"]]
    assert sorted(row["output"] for row in rows) == ["assistant says 0"] * 10 + ["assistant says 1"] * 10
    assert all(row["history"] == (CHAT[:2] if row["output"].endswith("0") else CHAT[:4]) for row in rows)


def test_no_conversation_is_in_two_splits_of_a_run_or_of_a_search(write, make):
    talks = [[{**message, "content": f"{message['content']} of {i}"} for message in CHAT] for i in range(10)]
    Path("chats.jsonl").write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in talks))
    config = make("+exp=own_instructions", "scale=auto", "task.data=chats.jsonl", "model=llama_mini")
    splits = config.task.load(config.task.find(config.assets, mini=False))
    for halves in (splits, config.task.hold_out(splits["train"], 0.3)):
        ends = {split: {text.rpartition(" ")[2] for text in rows["output"]} for split, rows in halves.items()}
        assert not ends["train"] & ends["validation"]
        assert all(len(rows) == 2 * len(ends[split]) for split, rows in halves.items())
    Path("chats.jsonl").write_text(json.dumps({"messages": talks[0]}))
    with pytest.raises(UserError, match="1 conversations are too few"):
        config.task.load(config.task.find(config.assets, mini=False))


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (CHAT[:2], "roles system, user"),
        (CHAT[2:], "roles assistant"),
        ([{"role": "user"}], "content"),
        ([*CHAT[1:2], {"role": "assistant", "content": " "}], "an empty message"),
    ],
    ids=["unanswered", "no question", "no content", "empty"],
)
def test_what_is_no_conversation_is_named(write, load, messages, told):
    lines = [{"messages": CHAT}, {"messages": messages}]
    Path("chats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match=rf"chats.jsonl, train, row 1: no conversation .*{told}"):
        load("own_instructions", "chats.jsonl", "model=llama_mini")


@pytest.mark.parametrize("given", [lambda i: i, lambda i: i if i % 2 else None], ids=["numbers", "with gaps"])
def test_an_input_that_is_no_text_is_named(write, load, given):
    rows = [{"instruction": f"Add {i}", "output": f"{i}", "input": given(i)} for i in range(20)]
    with pytest.raises(UserError, match=r"given\.jsonl, train, row \d: input is .*want text"):
        load("own_instructions", write(rows, "given.jsonl"), "model=llama_mini")


def test_instructions_may_have_an_input_or_not(write, load, make):
    rows = [{"instruction": f"Say {i}", "output": f"It is {i}."} for i in range(20)]
    _, splits = load("own_instructions", write(rows, "plain.jsonl"), "model=llama_mini")
    assert set(splits["train"]["input"]) == {""}
    rows = [{**row, "input": f"given {i}" if i % 2 else None} for i, row in enumerate(rows)]
    _, splits = load("own_instructions", write(rows, "given.jsonl"), "model=llama_mini")
    assert {text for rows in splits.values() for text in rows["input"]} == {""} | {
        f"given {i}" for i in range(1, 20, 2)
    }

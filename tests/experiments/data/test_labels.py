"""Rows and labels of a file: the same whatever it calls them and stores them as, or a message with file and row."""

import itertools
import json
import random
from decimal import Decimal

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Features
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.data.assets import Source, read_rows
from experiments.data.labels import as_classes
from experiments.errors import UserError

NAMES = ["not_equivalent", "equivalent"]  # of MRPC, whose columns these are
LABELS = [0, 1, 1, 0, 1, 1, 1, 0]
TEXTS = {f"sentence{i}": [f"the {i}th cat {row} sleeps" for row in range(len(LABELS))] for i in (1, 2)}
NUMBERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)] + ["halffloat", "float", "double"]


def write(path, label, order=None, **columns):
    """A file with a column of labels; `order`: its names for 0 and 1, noted as the datasets library does."""
    table = pyarrow.table({**TEXTS, "label": label, **columns})
    if order:
        noted = {"info": {"features": Features({"label": ClassLabel(names=order)}).to_dict()}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(noted)})
    pyarrow.parquet.write_table(table, path, write_page_checksum=True)
    return path


def stored(kind, order=NAMES):
    """LABELS as text, as categories or as numbers of that type, in that order of names."""
    words = pyarrow.array([NAMES[label] for label in LABELS])
    numbers = pyarrow.array([order.index(word.as_py()) for word in words])
    if kind.endswith("string"):
        return words.cast(kind)
    return {"words": words.dictionary_encode, "numbers": numbers.dictionary_encode}.get(
        kind, lambda: numbers.cast(kind)
    )()


def read(file):
    rows = as_classes(read_rows(file, TEXTS, ["label"]), "label", NAMES, str(file))
    return rows["label"][:], {name: rows[name][:] for name in TEXTS}


def test_labels_are_the_same_in_every_type_and_order_of_names(make, tmp_path):
    """Of a split of MRPC, whatever the order of the other."""
    task, file = make("+exp=glue_mrpc").task, tmp_path / "v.parquet"
    kinds = (*NUMBERS, "string", "large_string", "words", "numbers")
    for kind, order in itertools.product(kinds, (None, NAMES, NAMES[::-1])):
        write(file, stored(kind, order or NAMES), order)
        rows = task.read_split(Source("mrpc", "local", "mrpc", {"validation": file}), "validation")
        assert rows["label"][:] == LABELS and rows["sentence2"][:] == TEXTS["sentence2"], (kind, order)


def column(*values, kind=None):
    """A column of labels that begins with the right ones and ends with these."""
    return pyarrow.array([*LABELS[: -len(values)], *values], kind)


@pytest.mark.parametrize(
    ("label", "order", "message"),
    [
        (column(-1), NAMES, r"row 7: label is -1, want one of 0\.\.1; use a labelled split"),
        (column(2), None, r"row 7: label is 2, want one of 0\.\.1"),
        (column(None), NAMES[::-1], r"row 7: label is None, want"),
        (column(float("nan"), 0.0), NAMES, r"row 6: label is nan, want"),
        (column(0.5), NAMES[::-1], r"row 7: label is 0\.5, want"),
        (pyarrow.array([bool(label) for label in LABELS]), NAMES, r"row 0: label is False, want"),
        (pyarrow.array([[label] for label in LABELS]), NAMES, r"row 0: label is \[0\], want"),
        (pyarrow.array([Decimal(label) for label in LABELS]), None, r"row 0: label is Decimal\('0'\), want"),
        (pyarrow.array(["equivalent"] * 7 + ["same"]), None, r"row 7: label is 'same', want one of \['not_equivalent'"),
        (pyarrow.array(list(map(str, LABELS))), None, r"row 0: label is '0', want one of \['not_equivalent'"),
        (
            column(0),
            ["yes", "no"],
            r"the classes of label are \['yes', 'no'\], want \['not_equivalent', 'equivalent'\]",
        ),
    ],
)
def test_a_label_that_is_none_is_named_with_its_file_and_row(tmp_path, label, order, message):
    with pytest.raises(UserError, match=rf"v\.parquet(, |: ){message}"):
        read(write(tmp_path / "v.parquet", label, order))


@pytest.mark.parametrize(
    ("scores", "told"),
    [([0, 5, 2.5, None], "row 3: label is None"), ([float("nan")] * 4, "row 0: label is nan"),
     ([0, 5, 5.1, 1], r"row 2: label is 5\.1"), (["1", "2", "3", "4"], "row 0: label is '1'"), ([0.0, 1, 2, 5], None)],
)  # fmt: skip
def test_scores_are_numbers_from_0_to_5(make, tmp_path, scores, told):
    file = tmp_path / "validation.parquet"
    texts = {name: values[:4] for name, values in TEXTS.items()}
    pyarrow.parquet.write_table(pyarrow.table({**texts, "label": scores}), file)
    task, source = make("+exp=glue_stsb").task, Source("stsb", "local", "stsb", {"validation": file})
    if told is None:
        rows = task.read_split(source, "validation")
        assert rows["label"][:] == scores and rows.features["label"].dtype == "float32"
        return
    with pytest.raises(UserError, match=rf"validation\.parquet, {told}, want a number in 0\.\.5"):
        task.read_split(source, "validation")


def not_utf8():
    """Eight texts, of which the third is not UTF-8."""
    ends, content = pyarrow.py_buffer(bytes(range(9))), pyarrow.py_buffer(b"ab\xffdefgh")
    offsets = pyarrow.array(list(ends.to_pybytes()), pyarrow.int32()).buffers()[1]
    return pyarrow.Array.from_buffers(pyarrow.string(), 8, [None, offsets, content])


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["a", None, *"cdefgh"], "row 1: sentence2 is None, want text"),
        (not_utf8(), r"row 2: sentence2 is b'\\xff', want text"),
        (list(range(8)), "row 0: sentence2 is 0, want text"),
        ([["a"]] * 8, r"row 0: sentence2 is \['a'\], want text"),
    ],
)
def test_a_text_that_is_none_is_named_with_its_file_row_and_column(tmp_path, texts, told):
    with pytest.raises(UserError, match=rf"v\.parquet, {told}"):
        read(write(tmp_path / "v.parquet", LABELS, sentence2=texts))


def test_json_is_read_with_the_same_care_with_or_without_a_byte_order_mark(tmp_path):
    file = tmp_path / "train.json"
    rows = [{"query": "a", "input": None, "answer": "ü"}, {"query": "c", "input": "", "answer": "d"}]
    for encoding in ("utf-8", "utf-8-sig"):
        file.write_text(json.dumps(rows, ensure_ascii=False), encoding=encoding)
        assert read_rows(file, ["query", "input", "answer"], optional=["input"]).to_list() == rows
    for value, told in ((5, "5"), (None, "None"), (["b"], r"\['b'\]")):
        file.write_text(json.dumps([*rows, {"query": "e", "answer": value}]))
        with pytest.raises(UserError, match=rf"train\.json, row 2: answer is {told}, want text; correct that row"):
            read_rows(file, ["query", "answer"])
    for text, told in (
        ("[]", "has no rows"),
        ("[" * 100_000, "not a readable JSON"),
        ('[{"query": "\\ud800"}]', "not a"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=rf"train\.json: .*{told}"):
            read_rows(file, ["query"] if "query" in text else [])


def test_a_file_without_rows_is_named(tmp_path):
    empty = pyarrow.table({**dict.fromkeys(TEXTS, pyarrow.array([], "string")), "label": pyarrow.array([], "int64")})
    pyarrow.parquet.write_table(empty, tmp_path / "v.parquet")
    with pytest.raises(UserError, match=r"v\.parquet: it has no rows"):
        read(tmp_path / "v.parquet")


def same_or_named(file, expected):
    """Whether the file reads as the rows expected; false where a UserError names the file."""
    try:
        found = read(file)
    except UserError as error:
        assert str(file) in str(error)
        return False
    assert found == expected
    return True


ORDERS = (None, NAMES, NAMES[::-1], ["no", "yes"], ["0", "1"], [*NAMES, "unsure"])
CELLS = (None, -1, 0, 1, 2, 0.5, 1.0, float("nan"), True, "equivalent", "1", b"\xff", [1])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from([*NUMBERS, "string", "large_string", "bool", "words", "numbers"]),
    order=st.sampled_from(ORDERS), row=st.integers(0, 7), cell=st.sampled_from(CELLS),
)  # fmt: skip
def test_no_type_order_or_value_gives_other_labels(tmp_path_factory, kind, order, row, cell):
    """One label is replaced, where its column can hold that value: by one that is understood, or the file is named."""
    names = order if order and set(order) == set(NAMES) else NAMES
    column = stored(kind, names)
    try:
        values = [*column.to_pylist()[:row], cell, *column.to_pylist()[row + 1 :]]
        column = pyarrow.array(values) if kind in ("words", "numbers") else pyarrow.array(values, column.type)
    except (pyarrow.ArrowException, TypeError, OverflowError):
        return
    value = column[row].as_py()
    right = names.index(value) if value in NAMES and isinstance(value, str) else value
    expected = [*LABELS[:row], NAMES.index(names[int(right)]) if right in (0, 1) else None, *LABELS[row + 1 :]]
    same_or_named(write(tmp_path_factory.mktemp("rows") / "v.parquet", column, order), (expected, TEXTS))


def damage(content, seed):
    """Some bits turned; some bytes lost, or there twice."""
    draw, content = random.Random(seed), bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    start, end = sorted(draw.choices(range(len(content)), k=2))
    return content[:end] + content[draw.choice((end, end, start, len(content))) :]


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_read_as_it_was_or_named(tmp_path, count):
    """With checksums of its pages: without them some changes cannot be told, but from the record's sha256."""
    content = write(tmp_path / "v.parquet", LABELS, NAMES).read_bytes()
    whole = 0
    for seed in range(count):
        (tmp_path / "v.parquet").write_bytes(damage(content, seed))
        whole += same_or_named(tmp_path / "v.parquet", (LABELS, TEXTS))
    assert 0 < whole < count, "some of the damage is to bytes that say nothing, not all"

"""The paper's printed counts beside the exact ones: nothing unexplained, and no wrong number passes as explained."""

import statistics
from decimal import Decimal
from pathlib import Path

import pytest

from experiments.measure.sizes import Sizes, counted_as, wanted
from experiments.paper.printed import TABLE_NAMES, UNEXPLAINED, Share, agreement, read_facts, read_paper, title
from experiments.report.claims import parameters
from experiments.report.sizes import pages, products, shares_of_lora
from experiments.report.verdicts import NOT_REPRODUCED, REPRODUCED
from scripts import parameters as script

PAPER = read_paper(Path(__file__).parents[3] / "results" / "paper")
SHARES = read_facts(Share, Path(__file__).parents[3] / "results" / "paper")
ROWS = [pytest.param(row, id=f"{name}-{row.model}-{row.title}") for name, rows in PAPER.items() for row in rows]


def row(**changes):
    """A printed row: FourierFT, n=1000, on RoBERTa-base, with changes."""
    (one,) = (row for row in PAPER["table1_parameters"] if row.count == 24_000 and row.model == "roberta_base")
    return one.model_copy(update={"note": None, **changes})


# --- what is printed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "exact", "unit", "how"),
    [
        ("24", 24_000, 1000, ""),
        ("295", 294_912, 1000, ""),
        ("295", 295_500, 1000, ""),
        ("295", 294_499, 1000, None),
        ("295", 295_501, 1000, "cut off"),
        ("33.5", 33_554_432, 10**6, "cut off"),
        ("33.5", 33_600_000, 10**6, None),
        ("0.30", 304_999, 10**6, ""),
        ("0.30", 295_000, 10**6, ""),
        ("0.30", 294_999, 10**6, None),
        ("1.13", 1_179_648, 2**20, ""),
        ("574", 589_824, 2**10, None),
    ],
)
def test_a_number_agrees_with_the_digits_it_rounds_or_is_cut_to(printed, exact, unit, how):
    assert agreement(printed, Decimal(exact), unit) == how


def test_a_wrong_print_is_unexplained():
    assert row().params_remark(24_000) == "" == row().bytes_remark(24_000)
    assert row().params_remark(25_000) == UNEXPLAINED
    assert row(bytes="95KB").bytes_remark(24_000) == UNEXPLAINED
    assert row(bytes="94MB").bytes_remark(24_000) == UNEXPLAINED


def test_printed_bytes_may_be_of_the_printed_count_or_of_another_megabyte():
    assert row(params="147K", bytes="574KB").bytes_remark(147_456) == "of the printed 147K"
    assert row(params="8.39M", bytes="32.8MB").bytes_remark(8_388_608) == "MB = 1000 KB"
    assert row(params="1.47M", bytes="5.74MB").bytes_remark(1_474_560) == "of the printed 1.47M, MB = 1000 KB"


@pytest.mark.parametrize("row", ROWS)
def test_every_difference_is_explained_by_the_numbers_or_by_a_note_that_names_them(row, recorded):
    size = recorded[row.model].find(row.method, row.settings)
    assert size is not None, "make parameters counts every row of the paper"
    assert UNEXPLAINED not in (row.params_remark(size.adapter), row.bytes_remark(size.adapter))
    silent = row.model_copy(update={"note": None, "bytes_note": None})
    if silent.params_remark(size.adapter) == UNEXPLAINED:
        assert f"{size.adapter:,}" in row.note
    if silent.bytes_remark(size.adapter) == UNEXPLAINED:
        assert f"{size.adapter:,} values" in row.bytes_note
    else:
        assert row.bytes_note is None, "a note where none is needed"


@pytest.mark.parametrize("row", [param for param in ROWS if param.values[0].avg is not None])
def test_printed_averages_are_those_of_the_scores(row):
    digits = 1 if row.median else 2  # of Table 2, of Table 5
    mean = statistics.mean((row.median or row.mean).values())
    assert abs(mean - row.avg) <= 0.5 * 10**-digits + 1e-9


def test_the_tables_are_whole():
    lengths = {"table1_parameters": 32, "table2_glue": 15, "table3_e2e": 11, "table4_instruct": 12, "table5_vit": 10}
    assert {name: len(rows) for name, rows in PAPER.items()} == lengths and lengths.keys() == TABLE_NAMES.keys()
    for name, columns in (("table2_glue", 6), ("table3_e2e", 5), ("table4_instruct", 2), ("table5_vit", 8)):
        assert {len(row.median or row.mean) for row in PAPER[name]} == {columns}
        assert all(row.std.keys() <= (row.median or row.mean).keys() for row in PAPER[name])
    keys = [(name, row.model, row.title) for name, rows in PAPER.items() for row in rows]
    assert len(keys) == len(set(keys)), "a row of the paper is told apart by its settings"


# --- what was counted ------------------------------------------------------------------------------------------------


def files(full):
    """The pages by the names of their files."""
    return {file: text for page in pages(PAPER, full) for file, text in page.texts.items()}


def test_the_pages_show_every_row_and_nothing_unexplained(recorded):
    found = files(list(recorded.values()))
    assert found.keys() == {"table1_parameters.md", "table1_parameters.tex", "parameters.md", "parameters.tex"}
    whole = sum(len(methods) for methods in wanted(PAPER).values())
    lines = [line for line in found["parameters.md"].splitlines() if line.startswith("| ") and "---" not in line]
    assert len(lines) == 15 + 11 + 12 + 10 + whole + 5  # headers
    shown = found["table1_parameters.md"] + found["parameters.md"]
    assert all(note in shown for rows in PAPER.values() for row in rows for note in (row.note, row.bytes_note) if note)
    assert found["parameters.tex"].count(r"p{0.4\linewidth}}") == 4, "remarks wrap; the last table has none"
    for name in ("table1_parameters.md", "parameters.md"):
        tables = [line for line in found[name].splitlines() if line.startswith("|")]
        assert not any(UNEXPLAINED in line or "not counted" in line for line in tables)
    line = "| roberta_base | fourierft (n=1000) | 24,000 | 592,130 | 616,130 | 616,130 |"
    assert line in found["parameters.md"].replace("‡", "")


def test_what_was_not_counted_is_a_dash(recorded):
    few = recorded["roberta_base"].model_copy(update={"rows": recorded["roberta_base"].rows[:1], "dirty": True})
    text = files([few])["table1_parameters.md"]
    assert "| roberta_base‡ | lora (r=4) | 147K | 147,456 | 574KB | 589,824 |" in text
    assert "| vit_base | lora (r=8) | 295K | — | 1.13MB | — | — | not counted |" in text
    assert files([]) == {}


def test_the_claim_holds_at_full_size_and_one_wrong_count_refutes_it(recorded):
    found = parameters([], list(recorded.values()), SHARES)
    assert found.verdict == REPRODUCED
    counts = ["full size", "gpt2_large", "72", "36,000 at n=500, 72,000 at n=1,000", "—"]
    assert counts in found.measured[0].rows
    wrong = recorded["vit_base"].model_copy(deep=True)
    rows = [r.model_copy(update={"adapter": r.adapter + 1}) if r.method == "fourierft" else r for r in wrong.rows]
    assert parameters([], [wrong.model_copy(update={"rows": rows})]).verdict == NOT_REPRODUCED
    assert products([]) == []


def test_the_claimed_shares_of_lora_stand_beside_the_exact_ones(recorded):
    lines = shares_of_lora(list(recorded.values()), SHARES)
    assert len(lines) == len(SHARES) == 7
    assert ["roberta_large", "n=1,000", "r=8", "6.10 %", "6.0 %"] in lines
    # Each printed share is that of the printed counts.
    tables = [row for rows in (PAPER["table2_glue"], PAPER["table3_e2e"], PAPER["table4_instruct"]) for row in rows]
    tables += PAPER["table5_vit"]
    for share in SHARES:
        rows = [row for row in tables if row.model == share.model]
        printed = {title(counted_as(row.method), row.settings): row.count for row in rows}
        of = 100 * printed[f"fourierft (n={share.n})"] / printed[f"lora (r={share.r})"]
        assert abs(of - Decimal(str(share.printed))) < Decimal("0.06")


def test_a_method_of_two_names_is_counted_once_and_found_by_both(recorded):
    names = [method for method, settings in wanted(PAPER)["llama2_7b"] if settings == {"r": 64}]
    assert sorted(names) == ["lora", "lora_all"] and "lora_qv" in {row.method for row in PAPER["table4_instruct"]}
    sizes = recorded["llama2_7b"]
    assert sizes.find("lora_qv", {"r": 64}) is sizes.find("lora", {"r": 64}) is not None
    assert sizes.find("lora_all", {"r": 64}) is not sizes.find("lora", {"r": 64})


# --- the command -----------------------------------------------------------------------------------------------------


def test_a_model_that_was_counted_is_not_counted_again_unless_forced(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "wanted", lambda paper: {"vit_base": [("fourierft", {"n": 10}), ("head_only", {})]})
    assert script.main(["vit_base", "--out", str(tmp_path)]) == 0
    path = tmp_path / "vit_base.json"
    assert "240 adapter" in capsys.readouterr().out
    found = Sizes.model_validate_json(path.read_text())
    assert [(row.title, row.adapter) for row in found.rows] == [("fourierft (n=10)", 240), ("head_only", 0)]
    before = path.stat().st_mtime_ns
    assert script.main(["vit_base", "--out", str(tmp_path)]) == 0 and path.stat().st_mtime_ns == before
    assert "done before" in capsys.readouterr().out
    path.write_text("damaged")
    assert script.main(["vit_base", "--out", str(tmp_path)]) == 2 and path.read_text() == "damaged"
    assert "vit_base.json: not a sound record" in capsys.readouterr().err
    assert script.main(["vit_base", "--out", str(tmp_path), "--force"]) == 0
    assert Sizes.model_validate_json(path.read_text()).rows == found.rows


def test_an_unknown_model_is_refused_by_name(tmp_path, capsys):
    assert script.main(["bert", "--out", str(tmp_path)]) == 2
    assert "no model bert in the paper's tables; there are: roberta_base" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

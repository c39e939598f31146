"""The runs of a table's rows: the recipe that each names, and what it changes of it."""

from experiments.config import load
from experiments.paper.score_tables import TABLE2
from experiments.report.aggregate import Row, rows
from experiments.report.planned import lines, not_run
from tests.handmade import run

SMALL = {"model": "minilm_l6", "exp": "glue_stsb", "scale": "small"}


def command(*records):
    """The overrides of the only row that these are."""
    [line] = lines(TABLE2, "small", rows(records))
    return line.overrides


def test_a_row_names_the_recipe_whose_settings_it_has():
    assert command(run(method="lora", r=1, alpha=1, **SMALL))[2:] == ("method=lora", "recipe=minilm_l6/lora_r1")
    assert command(run(method="lora", r=8, alpha=8, **SMALL))[2:] == ("method=lora",)
    whole = command(run(n=333, targets="all-linear", **SMALL))
    assert "recipe=minilm_l6/fourierft_all" in whole


def test_what_no_recipe_has_is_an_override_in_hydra_s_words():
    pattern = {"layer.0.query": 500, "value": 20}
    [line] = lines(TABLE2, "small", rows([run(n=333, targets="all-linear", n_pattern=pattern, **SMALL)]))
    assert line.overrides[-1] == "method.n_pattern={layer.0.query:500,value:20}"
    *_, overrides = next(line.runs())
    assert load(*overrides).method.n_pattern == pattern
    assert f"'{line.overrides[-1]}'" in line.command, "a shell would take the braces for its own"
    assert rows([run(n=333, n_pattern=pattern, **SMALL)])[0].title == "fourierft (n=333, n_pattern=2 modules)"


def test_recipes_without_a_run_are_rows_with_what_names_them():
    found = rows([run(method="lora", r=8, alpha=8, **SMALL)])
    titles = {row.title for row in not_run("small", found, [], ["minilm_l6"])}
    assert {"lora (r=1)", "fourierft (n=1000)", "fourierft (n=333, targets=all-linear)"} <= titles
    assert "lora (r=8)" not in titles
    assert all(isinstance(row, Row) and not row.runs for row in not_run("small", [], [], ["minilm_l6"]))

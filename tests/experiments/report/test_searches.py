"""The searches behind the records: which one a run's rates come from, and how a search that ended at an edge shows."""

import json
from itertools import product

import pytest

from experiments.paper.score_tables import SCORE_TABLES, TABLE2
from experiments.record import find
from experiments.report.aggregate import rows
from experiments.report.quality import quality
from experiments.report.scores import score
from experiments.report.searches import Searches
from experiments.studies import STUDIES
from experiments.studies.sweep import Sweep
from experiments.trials import SIGNS
from tests.conftest import ROOT
from tests.handmade import five, run, search

RESULTS = ROOT / "results"
RTE = next(column for column in TABLE2.columns if column.exp == "glue_rte")
RATE = {"lr": 0.3, "head_lr": 0.01}


def edges(record, *found):
    return Searches(found).edges(record)


def test_rates_come_from_the_search_on_the_same_experiment_model_and_method_with_these_as_the_best():
    record = run(n=1000, recipe=RATE)
    assert edges(record, search(0.1, 0.3)) == {"recipe.lr": "highest"}
    assert edges(record, search(0.3, 0.5, best=0.3)) == {"recipe.lr": "lowest"}
    assert edges(record, search(0.1, 0.3, 0.5, best=0.3)) == {}
    assert edges(record, search(0.1, 0.3, exp=None, settings=["task=glue_rte"])) == {"recipe.lr": "highest"}
    for other in ({"exp": "glue_mrpc"}, {"model": "roberta_large"}, {"method": "lora"}, {"best": 0.1}):
        assert edges(record, search(0.1, 0.3, **other)) == {}


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        (["method.n=1000"], True),
        (["method.n=50"], False),
        (["method.band=[0,50]"], True),
        (["method.entries=random"], True),  # the paper's, which the record does not name
        (["method.entries=grid"], False),
        (["method.scale=${method.n}"], True),  # follows from another
        (["method.n_pattern={query:128,value:896}"], True),
        (["method.n_pattern={query:128,value:512}"], False),
        (["method.learning=1e-4"], True),  # a number, as Hydra reads it; of YAML a text
    ],
)
def test_the_settings_of_the_search_are_those_of_the_run(settings, fits):
    record = run(n=1000, band=[0.0, 50.0], n_pattern={"value": 896, "query": 128}, learning=1e-4, recipe=RATE)
    assert bool(edges(record, search(0.1, 0.3, settings=settings))) == fits


def test_of_several_searches_the_one_with_the_most_settings_of_the_run_counts():
    found = [
        search(0.1, 0.3),
        search(0.1, 0.3, 0.5, best=0.3, settings=["method.n=1000", "method.init=normal"]),
        search(0.1, 0.3, settings=["method.n=1000"]),
    ]
    assert edges(run(n=1000, recipe=RATE), *found) == {}
    assert edges(run(n=50, recipe=RATE), *found) == {"recipe.lr": "highest"}


def test_the_rate_of_a_head_counts_where_there_is_one():
    found = search(0.002, 0.01, key="recipe.head_lr")
    assert edges(run(recipe=RATE), found) == {"recipe.head_lr": "highest"}
    assert edges(run(recipe=RATE, head=0), found) == {}
    both = found.model_copy(update={"best": {**found.best, "recipe.lr": 0.3}})
    both.trials[:] = [{**trial, "recipe.lr": 0.3 * trial["score"] / 0.5} for trial in both.trials]
    assert edges(run(recipe={"lr": 0.3, "head_lr": 0.3}, head=0), both) == {"recipe.lr": "highest"}


def test_the_score_is_marked_and_a_run_without_a_search_is_not():
    searches = Searches([search(0.1, 0.3)])
    [marked] = rows(five(recipe=RATE), searches.edges)
    assert score(marked.cells["glue_rte"], RTE) == "79.0 ± 1.1 ×5↑"
    [plain] = rows(five(recipe={"lr": 0.2}), searches.edges)
    assert score(plain.cells["glue_rte"], RTE) == "79.0 ± 1.1 ×5"
    [failed] = rows([run(status="oom", recipe=RATE)], searches.edges)
    assert score(failed.cells["glue_rte"], RTE) == "1 OOM"


@pytest.mark.parametrize("truncated", ["fourierft", "lora", None])
def test_quality_at_scale_small_cannot_tell_where_either_search_ended_at_an_edge(truncated):
    found = [search(0.1, 0.3, method="lora"), search(0.1, 0.3)]
    found = [one for one in found if one.method == truncated]
    runs = [one for method in ("fourierft", "lora") for one in five(method=method, scale="small", recipe=RATE)]
    claim = quality(TABLE2, rows(runs, Searches(found).edges), ())
    [outcome] = claim.outcomes
    assert (outcome.holds, outcome.at_edge, outcome.evidence) == (None if truncated else True, bool(truncated), True)
    assert claim.measured[0].rows[0][-1] == "+0.0 ×5" + "↑" * bool(truncated)
    assert claim.small_scale == (
        "cannot tell (RTE; 5 seeds); a search ended at an edge" if truncated else "holds (RTE; 5 seeds)"
    )


# --- the committed results -------------------------------------------------------------------------------------------


def lines_of(page, *, scale="small"):
    """The rows of a generated table, each as its cells."""
    text = (RESULTS / f"tables/{page}_{scale}.md").read_text()
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]


SEARCHES = Searches.read(RESULTS / "search", RESULTS / "studies")
FILES = [*RESULTS.glob("search/*/*/*.json"), *RESULTS.glob("studies/*/search/*/*/*.json")]
SMALL = [row for row in rows(find(RESULTS / "records"), SEARCHES.edges) if row.scale == "small"]


def test_every_committed_search_is_read():
    assert len(SEARCHES.found) == len(FILES)
    for path in FILES:  # as its numbers say, read without the project
        found = json.loads(path.read_text())
        ends = {
            key: [found["best"][key] == end(trial[key] for trial in found["trials"]) for end in (max, min)]
            for key in found["ranges"]
        }
        known = next(one for one in SEARCHES.found if path.as_posix().endswith(one.place) and one.best == found["best"])
        assert known.edges.keys() == {key for key, at in ends.items() if any(at)}


@pytest.mark.parametrize("row", SMALL, ids=lambda row: f"{row.model} {row.title}")
def test_every_committed_row_of_scale_small_is_inside_or_marked(row):
    for table in (table for table in SCORE_TABLES if not table.judged):
        shown = {column.heading: row.cells.get(column.exp) for column in table.columns_at("small")}
        header, *lines = lines_of(table.key) if any(shown.values()) else [[]]
        for heading, line in product(header, (line for line in lines if line[:3] == [row.model, row.title, "ours"])):
            if shown.get(heading):
                said = {"↑", "↓"} & {*line[header.index(heading)]}
                assert said == {SIGNS[end] for end in shown[heading].edges.values()}, (heading, line)


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if isinstance(study, Sweep)])
def test_every_committed_setting_of_scale_small_in_a_study_is_inside_or_marked(name):
    study, folder = STUDIES[name], RESULTS / "studies" / name
    for groups in study.by_scale(folder).get("small", []):
        lines = lines_of(study.key)
        for setting in groups.truncated:
            label = [*map(str, study.label(setting))]
            assert any(line[: len(label)] == label and {"↑", "↓"} & {*"".join(line)} for line in lines), setting

"""Tables and verdicts from hand-made records: statistics, marks, what is never mixed, and the same bytes every time."""

import shutil
import statistics
from pathlib import Path

import pytest

from experiments import record as records
from experiments.analysis import render
from experiments.analysis.aggregate import SEEDS, rows
from experiments.analysis.paper import beside, read_rows
from experiments.analysis.verdicts import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, claims
from experiments.record import Record, config_hash
from scripts import tables

PAPER = Path(__file__).parents[2] / "results" / "paper"
TABLE2 = read_rows(PAPER / "table2_glue.yaml")
MACHINE = {"device": "cpu", "cpu": "A CPU", "cores": 2, "memory_bytes": 2**34}


def run(
    best=0.5,
    *,
    exp="glue_rte",
    model="roberta_base",
    method="fourierft",
    seed=0,
    scale="paper",
    status="ok",
    last=0.4,
    adapter=24000,
    rank=None,
    train=None,
    weights="a",
    data="a",
    ended="2025-01-01T00:00:00Z",
    dirty=False,
    trials=None,
    **settings,
):
    """A record by hand. `settings` are the method's; `rank` is (matrices, median numerical rank)."""
    settings = settings or {"fourierft": {"n": 1000}, "lora": {"r": 8}}.get(method, {})
    config = {"seed": seed, "method": {"name": method, **settings}, "train": train or {"max_steps": None}}
    source = {"name": model, "source": "local", "id": model, "sha256": weights}
    result = {}
    if status == "ok":
        scores = {"best": best, "best_epoch": 3, "last": last, "per_epoch": [], "all": {"best": {}, "last": {}}}
        result["metrics"] = {"primary": "accuracy", "direction": "max", **scores}
        result["params"] = {"adapter": adapter, "head": 592130, "total": 10**8, "adapter_bytes": 4 * adapter}
        result["cost"] = {"train_s": 90.0, "eval_s": 1.0, "steps": 10, "samples_per_s": 3.0}
    if rank:
        spread = {"min": 1, "median": rank[1], "max": 768}
        summary = {"count": rank[0], "numerical_rank": spread, "effective_rank": spread}
        result["rank"] = {"tolerance": "t", "matrices": [], "summary": summary}
    return Record(
        exp=exp,
        task=exp,
        method=method,
        model=source,
        dataset={**source, "sha256": data, "rows": {}},
        seed=seed,
        scale=scale,
        status=status,
        error=None if status == "ok" else "it broke",
        config=config,
        config_hash=config_hash(config),
        hardware=MACHINE,
        versions={},
        commit="c" * 40,
        dirty=dirty,
        trials=trials,
        started="2025-01-01T00:00:00Z",
        ended=ended,
        **result,
    )


def five(scores=(0.78, 0.79, 0.80, 0.79, 0.77), **changes):
    """One run for each of the paper's seeds."""
    return [run(score, seed=seed, **changes) for score, seed in zip(scores, SEEDS, strict=True)]


def cell_of(found, exp="glue_rte"):
    (row,) = rows(found)
    return row.cells[exp]


@pytest.fixture
def build(tmp_path):
    """Write records (to files of the given names) and build the tables; returns the folder of results."""

    def build(found, names=None, results="results"):
        root = tmp_path / results
        shutil.rmtree(root / "records", ignore_errors=True)
        for record, name in zip(found, names or range(len(found)), strict=True):
            records.write(record, root / "records" / f"{name}.json")
        options = [
            "--records",
            root / "records",
            "--bench",
            root / "bench",
            "--parameters",
            root / "parameters",
            "--paper",
            PAPER,
            "--out",
            root / "tables",
            "--configs",
            tmp_path / "c",
        ]
        assert tables.main(list(map(str, options))) == 0
        return root

    return build


# --- aggregation -----------------------------------------------------------------------------------------------------


def test_a_cell_is_the_median_and_the_sample_deviation_over_seeds():
    cell = cell_of(five())
    assert cell.median() == pytest.approx(79)
    assert cell.std() == pytest.approx(statistics.stdev([78, 79, 80, 79, 77]))
    assert cell.median("last") == pytest.approx(40)
    assert tables.score(cell, "best", 79.1) == "79.0 ± 1.1 ×5 (−0.1)"


def test_fewer_seeds_and_dirty_code_are_marked():
    assert tables.score(cell_of(five()[:4]), "best") == "79.0 ± 0.8 ×4†"
    assert tables.score(cell_of([run(0.7)]), "best") == "70.0 ×1†"
    assert tables.score(cell_of([run(0.7, dirty=True)]), "best") == "70.0 ×1†‡"
    assert tables.score(cell_of([run(0.7, dirty=None)]), "best") == "70.0 ×1†‡"
    other_seeds = [run(0.7, seed=seed) for seed in range(5)]
    assert tables.score(cell_of(other_seeds), "best") == "70.0 ± 0.0 ×5†", "five seeds, but not the paper's"


def test_failures_are_counted_and_never_averaged():
    failures = [run(status=status, seed=seed) for status, seed in (("oom", 33333), ("oom", 44444), ("failed", 22222))]
    assert tables.score(cell_of(failures), "best", 79.1) == "1 failed, 2 OOM"
    assert tables.score(cell_of([run(0.7), *failures]), "best") == "70.0 ×1†, 1 failed, 2 OOM"
    assert rows(failures)[0].average(["glue_rte"]) is None


def test_a_run_that_ended_well_supersedes_its_failure_and_the_latest_counts():
    late = "2025-02-01T00:00:00Z"
    assert tables.score(cell_of([run(0.7), run(status="oom", ended=late)]), "best") == "70.0 ×1†"
    assert tables.score(cell_of([run(0.8, ended=late), run(0.7)]), "best") == "80.0 ×1†"


def test_no_score_is_negative_zero():
    assert tables.score(cell_of([run(0.7909)]), "best", 79.1).endswith("(+0.0)")
    assert tables.score(cell_of([run(0.7906)]), "best", 79.1).endswith("(+0.0)")
    assert tables.score(cell_of([run(-0.012)]), "best") == "−1.2 ×1†"


def test_settings_make_rows_and_scales_are_never_mixed():
    found = [run(0.7, n=1000, adapter=24000), run(0.6, n=200, adapter=4800), run(0.5, n=200, scale="small")]
    assert [(row.scale, row.label) for row in rows(found)] == [
        ("paper", "n=200"),
        ("paper", "n=1000"),
        ("small", "n=200"),
    ]
    (first, second) = rows([run(0.7, n=200, entry_seed=1), run(0.6, n=200, entry_seed=2)])
    assert (first.label, second.label) == ("entry_seed=1, n=200", "entry_seed=2, n=200")


def test_a_tuner_of_peft_s_is_named_by_its_size_and_set_by_its_keys():
    def vera(r, d):
        return run(method="vera", adapter=r, tuner="VERA", settings={"r": r, "d_initial": d})

    (alone,) = rows([vera(4, 0.1)])
    assert (alone.label, alone.overrides) == ("r=4", {})
    assert [(row.label, row.overrides) for row in rows([vera(4, 0.1), vera(8, 0.1)])] == [
        ("r=4", {"settings.r": 4}),
        ("r=8", {"settings.r": 8}),
    ]
    assert {row.label for row in rows([vera(4, 0.1), vera(4, 0.2)])} == {"d_initial=0.1, r=4", "d_initial=0.2, r=4"}


@pytest.mark.parametrize(
    "change", [{"train": {"max_steps": None, "precision": "bf16"}}, {"weights": "b"}, {"data": "b"}]
)
def test_what_no_setting_tells_apart_is_told_apart_by_its_hash(change):
    found = rows([run(0.7), run(0.6, **change), run(0.5, exp="glue_mrpc")])
    assert [len(row.cells) for row in found] == [1, 1, 1]
    assert [row.cells["glue_rte"].median() for row in found if "#" in row.label] in ([70, 60], [60, 70])


@pytest.mark.parametrize("key", ["max_steps", "rows", "holdout"])
def test_a_run_cut_short_is_no_result(key):
    assert rows([run(train={key: 1})]) == []


# --- the paper -------------------------------------------------------------------------------------------------------


def test_the_papers_averages_agree_with_its_scores():
    assert len(TABLE2) == 15
    for row in TABLE2:
        assert [f"glue_{task}" for task in row.median] == list(tables.TASKS)
        # Printed to one decimal: both the scores and their mean are off by half a tenth at most.
        assert abs(statistics.mean(row.median.values()) - row.avg) <= 0.0501
        assert not row.std or row.std.keys() == row.median.keys()


def test_a_row_stands_beside_the_same_settings_only():
    def printed(**changes):
        return beside(rows([run(**changes)])[0], TABLE2)

    assert printed(n=1000).params == "0.024M"
    assert printed(n=200) is None
    assert printed(n=1000, scale="small") is None
    assert printed(method="head_only") is None
    assert printed(method="adapter_drop", r=48, drop=0).params == "0.9M"
    assert printed(method="adapter_drop", r=48, drop=8).params == "0.3M"
    assert printed(method="adapter_drop", r=64, drop=0) is None


# --- verdicts --------------------------------------------------------------------------------------------------------


def verdict(found, name):
    return next(claim for claim in claims(rows(found), TABLE2, tables.TASKS) if claim.name == name)


def both_models(gap, **changes):
    """FourierFT `gap` points above LoRA in every column of Table 2, on both models."""
    return [
        one
        for model in ("roberta_base", "roberta_large")
        for exp in tables.TASKS
        for method, score in (("lora", 0.8), ("fourierft", 0.8 + gap / 100))
        for one in five([score] * 5, exp=exp, model=model, method=method, **changes)
    ]


def test_nothing_is_judged_without_records():
    assert {claim.verdict for claim in claims([], TABLE2, tables.TASKS)} == {NOT_MEASURED}


def test_parameters_are_judged_exactly():
    assert verdict([run(rank=(24, 700))], "Parameters").verdict == REPRODUCED
    assert verdict([run(rank=(24, 700)), run(adapter=24001, rank=(24, 700))], "Parameters").verdict == NOT_REPRODUCED
    assert verdict([run()], "Parameters").verdict == NOT_MEASURED


def test_quality_may_fall_below_lora_by_the_papers_spread():
    assert verdict(both_models(0.0), "Quality").verdict == REPRODUCED
    # The mean of the printed deviations: 0.583 for RoBERTa-base, 0.8 for RoBERTa-large.
    assert verdict(both_models(-0.55), "Quality").verdict == REPRODUCED
    assert verdict(both_models(-0.62), "Quality").verdict == NOT_REPRODUCED


def test_quality_is_judged_on_whole_clean_evidence_alone():
    complete = both_models(0.0)
    assert verdict(complete[1:], "Quality").verdict == NOT_MEASURED, "a seed is missing"
    one_model = [one for one in complete if one.model.name == "roberta_base"]
    assert verdict(one_model, "Quality").verdict == NOT_MEASURED
    for change in ({"dirty": True}, {"scale": "small"}):
        claim = verdict(both_models(0.0, **change), "Quality")
        assert claim.verdict == NOT_MEASURED
        assert "SST-2 +0.0" in claim.measured[0], "measured all the same"


def test_quality_compares_the_columns_that_both_have():
    found = [run(0.7), run(0.72, method="lora"), run(0.6, method="head_only"), run(0.9, exp="glue_mrpc")]
    measured = verdict(found, "Quality").measured
    assert measured == (
        "paper, roberta_base, fourierft (n=1000) minus head_only: RTE +10.0; seeds: 1 or more",
        "paper, roberta_base, fourierft (n=1000) minus lora (r=8): RTE −2.0; seeds: 1 or more",
    )


def test_rank_is_judged_against_lora():
    found = [run(rank=(24, 660)), run(method="lora", rank=(24, 8))]
    assert verdict(found, "Rank").verdict == REPRODUCED
    assert verdict(found, "Rank").measured == ("paper, roberta_base, glue_rte: fourierft (n=1000) 660, lora (r=8) 8",)
    assert verdict([run(rank=(24, 8)), run(method="lora", rank=(24, 8))], "Rank").verdict == NOT_REPRODUCED
    assert verdict([run(rank=(24, 660))], "Rank").verdict == NOT_MEASURED


# --- files -----------------------------------------------------------------------------------------------------------

GOLDEN = """\
# Table 2, GLUE, mini scale

## best epoch on validation (the paper's protocol)

| Model | Method | By | Params | Head | SST-2 | MRPC | CoLA | QNLI | RTE | STS-B | Avg | Trials |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| roberta_mini | lora (r=8) | ours | 16,384 | 592,130 | — | 1 OOM | — | — | 60.0 ×1†‡ | — | — | 5 |
| roberta_mini | fourierft (n=1000) | ours | 8,000 | 592,130 | — | — | — | — | 79.0 ± 1.1 ×5 | — | — | — |

## last epoch

| Model | Method | By | Params | Head | SST-2 | MRPC | CoLA | QNLI | RTE | STS-B | Avg | Trials |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| roberta_mini | lora (r=8) | ours | 16,384 | 592,130 | — | 1 OOM | — | — | 40.0 ×1†‡ | — | — | 5 |
| roberta_mini | fourierft (n=1000) | ours | 8,000 | 592,130 | — | — | — | — | 40.0 ± 0.0 ×5 | — | — | — |

## training time of a run, and best epoch (medians over seeds)

| Model | Method | SST-2 | MRPC | CoLA | QNLI | RTE | STS-B | Device |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| roberta_mini | lora (r=8) | — | — | — | — | 1.5 min, epoch 3 | — | A CPU |
| roberta_mini | fourierft (n=1000) | — | — | — | — | 1.5 min, epoch 3 | — | A CPU |

- a ± s ×k: the median and the sample standard deviation (n-1) over k seeds, in percent. —: not run.
- † not all of the paper's five seeds. ‡ code not at a clean commit. OOM, failed, cancelled: seeds that ended so.
- Params are trained without the head (AdaLoRA's: at its start). Trials: hyper-parameter trials behind our recipe.
"""


def mini_runs():
    mini = {"scale": "mini", "model": "roberta_mini"}
    lora = {**mini, "method": "lora", "adapter": 16384}
    return [
        *five(adapter=8000, **mini),
        run(0.6, dirty=True, trials=5, **lora),
        run(status="oom", exp="glue_mrpc", **lora),
    ]


def test_a_small_table_in_full(build):
    root = build(mini_runs())
    assert (root / "tables" / "table2_glue_mini.md").read_text() == GOLDEN


def contents(root):
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.suffix in (".md", ".tex")}


def test_the_same_records_give_the_same_bytes_whatever_their_files_are_called(build):
    found = [*mini_runs(), *five(), run(0.7, n=200, adapter=4800), *mini_runs()[::-1]]
    first = contents(build(found))
    assert contents(build(found)) == first
    assert contents(build(found[::-1], names=[f"x/{9 * i % 31}" for i in range(len(found))], results="again")) == first
    assert set(first) == {f"table2_glue_{scale}.{kind}" for scale in ("mini", "paper") for kind in ("md", "tex")} | {
        "README.md"
    }


def test_without_records_the_paper_stands_with_dashes(build, tmp_path):
    recipes = tmp_path / "c" / "recipe" / "roberta_base"
    recipes.mkdir(parents=True)
    (recipes / "lora.yaml").write_text("cells: { glue_rte: { lr: 1.0 } }")
    (recipes / "fourierft.yaml").write_text("recipe: { lr: 1.0 }")
    root = build([])
    text = (root / "tables" / "table2_glue_paper.md").read_text()
    assert sum("| paper |" in line for line in text.splitlines()) == 15
    ours = [line for line in text.splitlines() if "| ours |" in line]
    assert len(ours) == 15
    assert all(line.endswith("| ours " + "| — " * 10 + "|") for line in ours)
    commands = [line for line in text.splitlines() if line.startswith("python run.py")]
    assert commands == [
        f"python run.py -m +exp={exps} scale=paper model=roberta_base method={method} seed=0,11111,22222,33333,44444"
        for method, exps in (("lora", "glue_rte"), ("fourierft", ",".join(tables.TASKS)))
    ], "a command for each method that has a recipe, and for no other; for the tasks of its table where it has one"
    assert [path.name for path in sorted((root / "tables").iterdir())] == [
        "table2_glue_paper.md",
        "table2_glue_paper.tex",
    ]
    assert "not yet measured" in (root / "README.md").read_text()


def test_ours_stands_below_the_papers_row_with_the_difference(build):
    found = [one for exp in tables.TASKS for one in five([0.9] * 5, exp=exp)]
    lines = (build(found) / "tables" / "table2_glue_paper.md").read_text().splitlines()
    below = lines[next(i for i, line in enumerate(lines) if "fourierft (n=1000) | paper" in line) + 1]
    assert below.startswith("| roberta_base | fourierft (n=1000) | ours | 24,000 | 592,130 | 90.0 ± 0.0 ×5 (−4.2) |")
    assert below.endswith("| 90.0 (+5.0) | — |")


def test_unknown_models_and_methods_are_shown_under_their_own_names(build):
    text = (build([run(0.7, model="gpt_x", method="magic")]) / "tables" / "table2_glue_paper.md").read_text()
    assert "| gpt_x | magic | ours |" in text


def test_scales_stand_in_files_of_their_own_and_a_stale_one_goes(build):
    root = build([run(0.7123, scale="small"), run(0.6456)])
    small, paper = ((root / "tables" / f"table2_glue_{scale}.md").read_text() for scale in ("small", "paper"))
    assert "71.2" in small
    assert "71.2" not in paper
    assert "64.6" in paper
    assert "64.6" not in small
    root = build([run(0.6456)])
    assert not list((root / "tables").glob("*small*"))
    assert "small" not in (root / "README.md").read_text()


def test_latex_escapes_what_latex_reads():
    assert render.escape("a_b 5% #1 & ± ×5† −1 ≥2") == r"a\_b 5\% \#1 \& $\pm$ $\times$5\dag{} $-$1 $\geq$2"
    table = render.Table("T_1", ["Model", "%"], [["a_1", "1 ± 2"], ["b", "—"]])
    assert render.latex(table, ["100 %"]).splitlines() == [
        r"\begin{table*}",
        r"\centering\footnotesize",
        r"\caption{T\_1}",
        r"\begin{tabular}{ll}",
        r"\toprule",
        r"Model & \% \\",
        r"\midrule",
        r"a\_1 & 1 $\pm$ 2 \\",
        r"\midrule",
        r"b & --- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par 100 \%",
        r"\end{table*}",
    ]


def test_a_corrupt_file_stops_the_tables_by_name(tmp_path, capsys):
    (tmp_path / "broken.json").write_text('{"exp": 1}')
    out = tmp_path / "out" / "tables"
    assert tables.main(["--records", str(tmp_path), "--paper", str(PAPER), "--out", str(out)]) == 2
    assert "broken.json" in capsys.readouterr().err
    assert not out.exists()
    shutil.copytree(PAPER, tmp_path / "paper")
    (tmp_path / "paper" / "table2_glue.yaml").write_text("rows: [{model: a}]")
    options = ["--records", str(tmp_path / "none"), "--paper", str(tmp_path / "paper"), "--out", str(out)]
    assert tables.main(options) == 2
    assert "table2_glue.yaml" in capsys.readouterr().err

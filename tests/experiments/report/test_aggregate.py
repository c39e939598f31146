"""From hand-made records to rows: statistics, marks, and what is never mixed."""

import math
import statistics

import pytest

from experiments.errors import UserError
from experiments.paper.score_tables import HELD_OUT, SCORE_TABLES, TABLE3, TABLE4, Column
from experiments.record import Selections
from experiments.report.aggregate import rows
from experiments.report.scores import score
from tests.handmade import IMAGE_SEEDS, SEEDS, e2e, five, five_images, graded, image, instruct, run, three_e2e

COLUMNS = {column.exp: column for table in SCORE_TABLES for column in table.columns}
OF_TEXTS = {column.key: column for column in TABLE3.columns + TABLE3.extra}
RTE, CIFAR10 = COLUMNS["glue_rte"], COLUMNS["vit_cifar"]


def cell_of(found, exp="glue_rte"):
    (row,) = rows(found)
    return row.cells[exp]


def test_a_cell_is_the_median_and_the_sample_deviation_over_seeds():
    cell = cell_of(five())
    assert cell.centre() == pytest.approx(79)
    assert cell.spread() == pytest.approx(statistics.stdev([78, 79, 80, 79, 77]))
    assert cell.centre("last") == pytest.approx(40)
    assert score(cell, RTE, printed=79.1) == "79.0 ± 1.1 ×5 (−0.1)"


def test_fewer_seeds_and_dirty_code_are_marked():
    assert score(cell_of(five()[:4]), RTE) == "79.0 ± 0.8 ×4†"
    assert score(cell_of([run(0.7)]), RTE) == "70.0 ×1†"
    assert score(cell_of([run(0.7, dirty=True)]), RTE) == "70.0 ×1†‡"
    assert score(cell_of([run(0.7, dirty=None)]), RTE) == "70.0 ×1†‡"
    other_seeds = [run(0.7, seed=seed) for seed in range(5)]
    assert score(cell_of(other_seeds), RTE) == "70.0 ± 0.0 ×5†", "five seeds, but not the paper's"


def test_data_of_one_s_own_have_the_statistic_and_the_seeds_of_their_table():
    own = [run(score, seed=seed, exp="own_text") for seed, score in enumerate((0.6, 0.61, 0.8))]
    column, (row,) = Column(exp="own_text", key="own_text"), rows(own)
    assert score(row.cell(column), column) == "67.0 ± 11.3 ×3", "the mean, of all three seeds"


def test_failures_are_counted_and_never_averaged():
    failures = [run(status=status, seed=seed) for status, seed in (("oom", 33333), ("oom", 44444), ("failed", 22222))]
    assert score(cell_of(failures), RTE, printed=79.1) == "1 failed, 2 OOM"
    assert score(cell_of([run(0.7), *failures]), RTE) == "70.0 ×1†, 1 failed, 2 OOM"
    assert rows(failures)[0].average([RTE]) is None


def test_a_run_that_ended_well_supersedes_its_failure_and_the_latest_counts():
    late = "2025-02-01T00:00:00Z"
    assert score(cell_of([run(0.7), run(status="oom", ended=late)]), RTE) == "70.0 ×1†"
    assert score(cell_of([run(0.8, ended=late), run(0.7)]), RTE) == "80.0 ×1†"


def test_no_score_is_negative_zero():
    assert score(cell_of([run(0.7909)]), RTE, printed=79.1).endswith("(+0.0)")
    assert score(cell_of([run(0.7906)]), RTE, printed=79.1).endswith("(+0.0)")
    assert score(cell_of([run(-0.012)]), RTE) == "−1.2 ×1†"


def test_settings_make_rows_and_scales_are_never_mixed():
    found = [run(0.7, n=1000, adapter=24000), run(0.6, n=200, adapter=4800), run(0.5, n=200, scale="small")]
    assert [(row.scale, row.label) for row in rows(found)] == [
        ("paper", "n=200"),
        ("paper", "n=1000"),
        ("small", "n=200"),
    ]
    (first, second) = rows([run(0.7, n=200, entry_seed=1), run(0.6, n=200, entry_seed=2)])
    assert first.label == "entry_seed=1, n=200, not in the paper" and second.label.startswith("entry_seed=2, n=200")


def test_what_else_was_run_leaves_the_paper_s_row_whole():
    """Not even a setting that its recipe gives task by task splits it, nor a variant of another experiment joins it."""

    def scaled(one, scale):
        return one.model_copy(update={"config": one.config | {"method": one.config["method"] | {"scale": scale}}})

    paper = [scaled(one, 110) for one in five(exp="glue_rte")] + [scaled(one, 49) for one in five(exp="glue_cola")]
    others = [
        scaled(run(0.6, in_paper=False), 150),
        run(0.6, in_paper=False, recipe={"lr": 1.0}),
        run(0.6, exp="glue_sst2", n=1000, entries="grid"),
    ]
    found = [row for row in rows([*paper, *others]) if row.in_paper]
    assert [(row.label, list(row.cells), row.is_variant) for row in found] == [
        ("n=1000", ["glue_cola", "glue_rte"], False)
    ]
    small = [run(scale="small"), run(scale="small", exp="glue_cola", n=1000, entries="grid")]
    assert [(row.label, row.is_variant, row.overrides) for row in rows(small)] == [
        ("entries=grid, n=1000", True, {"entries": "grid"}),
        ("n=1000", False, {}),
    ]


def test_a_tuner_of_peft_s_is_named_by_its_size_and_set_by_its_keys():
    def vera(r, d):
        return run(scale="small", method="vera", adapter=r, tuner="VERA", settings={"r": r, "d_initial": d})

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
    assert [row.cells["glue_rte"].centre() for row in found if "#" in row.label] in ([70, 60], [60, 70])


@pytest.mark.parametrize("key", ["max_steps", "rows", "holdout"])
def test_a_run_cut_short_is_no_result(key):
    assert rows([run(train={key: 1})]) == []


# --- images: another statistic, other seeds, the test set's score ----------------------------------------------------


def test_images_are_the_mean_and_the_population_deviation_of_the_test_scores():
    scores = [0.78, 0.79, 0.80, 0.79, 0.71]
    cell = cell_of(five_images(scores, last=0.4), "vit_cifar")
    assert cell.centre() == pytest.approx(77.4), "the mean; the median is 79"
    assert cell.spread() == pytest.approx(3.2619, abs=1e-4), "over n: 3.2619; over n-1 it is 3.6469"
    assert cell.centre("last") == pytest.approx(40)
    assert score(cell, CIFAR10, printed=77.75) == "77.40 ± 3.26 ×5 (−0.35)"
    assert score(cell_of([image(0.7)], "vit_cifar"), CIFAR10) == "70.00 ×1†", "one seed has no spread"


def test_each_table_has_its_own_seeds():
    theirs = [image(0.7, seed=seed) for seed in SEEDS]
    assert score(cell_of(theirs, "vit_cifar"), CIFAR10) == "70.00 ± 0.00 ×5†"
    glue = [run(0.7, seed=seed) for seed in IMAGE_SEEDS]
    assert score(cell_of(glue), RTE) == "70.0 ± 0.0 ×5†"
    part = five_images(exp="vit_dtd_10", scale="small")
    assert cell_of(part, "vit_dtd_10").complete, "a part of a set goes by the seeds of its table"


def test_images_without_a_test_score_are_marked():
    assert score(cell_of([image(test=None, best=0.8)], "vit_cifar"), CIFAR10) == "80.00 ×1†§"
    assert cell_of(five()).marks == "", "GLUE is scored on validation"


def test_a_column_may_be_one_metric_of_several_and_no_percentage():
    """As in Table 3, where one experiment fills five columns."""
    found = []
    for seed, nist in ((0, 8.6), (11111, 9.6)):
        one, metrics = run(seed=seed), {"accuracy": 0.682, "nist": nist}
        test = Selections(best=metrics, last=metrics)
        found.append(one.model_copy(update={"metrics": one.metrics.model_copy(update={"test": test})}))
    cell, column = cell_of(found), Column(exp="glue_rte", key="nist", heading="NIST", digits=2, metric="nist", factor=1)
    assert score(cell, column, printed=8.82) == "9.10 ± 0.71 ×2† (+0.28)"
    assert score(cell, RTE) == "68.2 ± 0.0 ×2†"
    with pytest.raises(UserError, match=r"glue_rte, roberta_base, fourierft.*no metric 'nist'.*force=true"):
        cell_of([run()]).centre("best", column)


# --- texts: three seeds, the last epoch, several metrics of one experiment -------------------------------------------


def of_texts(found, key, **options):
    (row,) = rows(found)
    return score(row.cell(OF_TEXTS[key]), OF_TEXTS[key], TABLE3.selection, **options)


def test_texts_are_the_mean_and_the_sample_deviation_of_the_last_epochs_test_scores():
    found = three_e2e([0.60, 0.61, 0.65])
    assert of_texts(found, "bleu", printed=68.9) == "62.0 ± 2.6 ×3 (−6.9)", "median 61; over n it is 2.2"
    assert of_texts(found, "nist", printed=8.76) == "6.20 ± 0.26 ×3 (−2.56)", "no percentage, nor is the difference"
    assert of_texts(found, "cider") == "2.48 ± 0.11 ×3"
    assert of_texts(found[1:], "rouge_l") == "73.0 ± 2.8 ×2†"
    assert rows(found)[0].average([OF_TEXTS["bleu"], OF_TEXTS["rouge_l"]], "best") == pytest.approx(55)


def test_a_metric_that_some_seeds_lack_is_that_of_the_others_and_one_that_all_lack_a_dash():
    found = three_e2e([0.60, 0.62, 0.70])
    without = three_e2e([0.60, 0.62, 0.70], lacks=["meteor"])
    assert of_texts(found, "meteor") == "44.0 ± 5.3 ×3"
    assert of_texts([*found[:2], without[2]], "meteor") == "41.0 ± 1.4 ×2†"
    assert of_texts([*found[:2], without[2]], "bleu") == "64.0 ± 5.3 ×3"
    assert of_texts(without, "meteor", printed=46.6) == "—"
    assert of_texts([without[0], run(exp="e2e", status="oom", seed=11111, r=4, method="lora")][1:], "meteor") == "1 OOM"
    assert rows(without)[0].average([OF_TEXTS["bleu"], OF_TEXTS["meteor"]]) is None


@pytest.mark.parametrize("key", [key for key in OF_TEXTS if key != "meteor"])
def test_a_metric_that_every_run_measures_is_never_a_dash(key):
    with pytest.raises(UserError, match=f"e2e, gpt2_medium, fourierft.*no metric '{key}'"):
        of_texts([e2e(), e2e(seed=11111, lacks=[key])], key)


# --- instruction tuning: losses in nats, and scores that no two judges share -----------------------------------------


def test_a_loss_is_the_mean_over_seeds_in_nats_and_never_the_trainers():
    (loss,), (accuracy,) = HELD_OUT.columns, HELD_OUT.parts
    found = [instruct(nats, seed=seed) for nats, seed in ((1.2, 0), (1.3, 11111), (1.1, 22222))]
    (row,) = rows(found)
    assert score(row.cell(loss), loss, HELD_OUT.selection) == "1.200 ± 0.100 ×3"
    assert score(row.cell(loss), loss, "best") == "0.900 ± 0.000 ×3"
    assert math.isclose(loss.value(0.5), math.log(2))
    assert row.has(loss) and not row.has(accuracy)
    (row,) = rows([instruct(accuracy=0.625)])
    assert row.has(accuracy) and score(row.cell(accuracy), accuracy, "last") == "62.5 ×1†"


@pytest.mark.parametrize("change", [{"name": "b-judge"}, {"revision": "2"}, {"prompts": "f" * 64}, {"rule": "agreed"}])
def test_scores_of_different_judges_are_never_pooled(change):
    """Nor are those of one that was asked in other words."""
    one, other = graded(instruct(), 5.0), graded(instruct(seed=11111), 9.0, **change)
    found = rows([one, other])
    assert sorted([run.seed for run in row.runs] for row in found) == [[0], [11111]]
    assert len({row.judge for row in found}) == 2
    (same,) = rows([one, graded(instruct(seed=11111), 9.0)])
    mt_bench, vicuna = TABLE4.columns
    assert score(same.cell(mt_bench), mt_bench, "last") == "7.00 ± 2.83 ×2†"
    assert score(same.cell(vicuna), vicuna, "last") == "—", "one bench may be judged without the other"

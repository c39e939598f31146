"""Best epoch against last epoch: the sign of the gain, on which set, of which runs, and the noise beside it."""

import numpy as np
import pytest

from experiments.paper.printed import Logs, read_facts
from experiments.report import selection
from experiments.report.aggregate import rows
from tests.handmade import PAPER, SEEDS, run

LOGS = read_facts(Logs, PAPER)


def trained(validation, test=None, *, epochs=3, direction="max", examples=100, **changes):
    """A run with these scores, (best, last), after so many epochs."""
    curve = [{"accuracy": score} for score in (*[validation[0]] * (epochs - 1), validation[1])]
    made = run(epochs=curve, direction=direction, test=test, **changes)
    dataset = made.dataset.model_copy(update={"rows": {"validation": examples, "test": 4 * examples}})
    return made.model_copy(update={"dataset": dataset})


def test_the_gain_stands_on_both_sets_with_the_noise_of_a_score():
    found = [trained((0.5, 0.48), (0.5, 0.51), seed=seed, scale="small") for seed in SEEDS]
    (line,) = selection.by_experiment(rows(found)).rows
    assert line == ["small", "roberta_base", "glue_rte", "5", "+2.0", "5.0", "−1.0", "2.5"]
    words = selection.in_words(LOGS, rows(found))
    assert "In our 5 runs" in words and "gains +2.0 points" in words and "and −1.0 on the test set" in words


def test_without_a_test_set_there_is_a_dash_and_no_word_of_it():
    found = rows([trained((0.5, 0.48), scale="small")])
    assert selection.by_experiment(found).rows[0][-2:] == ["—", "—"]
    assert "test set" not in selection.in_words(LOGS, found)


def test_less_may_be_better():
    assert selection.gain(trained((0.1, 0.3), direction="min"), "validation").points == pytest.approx(20)


def test_a_run_of_one_epoch_chooses_nothing_and_the_miniatures_stay_apart():
    assert selection.by_method(rows([trained((0.5, 0.5), epochs=1)])).rows == []
    small, mini = trained((0.5, 0.4), scale="small"), trained((0.5, 0.3), scale="mini", method="lora")
    assert [line[0] for line in selection.by_experiment(rows([mini, small])).rows] == ["small"]
    lines = selection.by_method(rows([mini, small])).rows
    assert [line[:4] for line in lines] == [
        ["small", "roberta_base", "glue_rte", "fourierft (n=1000)"],
        ["mini", "roberta_base", "glue_rte", "lora (r=8)"],
    ]


@pytest.mark.parametrize("metric", ["accuracy", "pearson"])
def test_the_standard_error_is_the_spread_of_many_sets(metric):
    draw, score, examples = np.random.default_rng(0), 0.8, 300
    if metric == "accuracy":
        found = draw.binomial(examples, score, 4000) / examples
    else:
        x, noise = draw.standard_normal((2, 4000, examples))
        y = score * x + (1 - score**2) ** 0.5 * noise
        found = [np.corrcoef(*pair)[0, 1] for pair in zip(x, y, strict=True)]
    assert selection.standard_error(metric, score, examples) == pytest.approx(np.std(found), rel=0.05)
    assert selection.standard_error("matthews_correlation", score, examples) is None


def test_the_official_logs_gain_most_where_they_swing_most():
    gains = {(line[0], line[1]): line[4] for line in selection.of_logs(LOGS).rows}
    assert gains["roberta_base", "CoLA"] == "+8.67" and gains["roberta_base", "RTE"] == "+5.77"
    assert "8.7 for CoLA on roberta_base" in selection.in_words(LOGS, [])

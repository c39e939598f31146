"""GLUE's metrics against values worked by hand."""

import numpy as np
import pytest

from experiments.metrics.glue import Glue


def score(name, predictions, references):
    return Glue(config_name=name).compute(predictions=predictions, references=references)


def test_accuracy_and_f1():
    found = score("mrpc", [1, 1, 1, 0, 0], [1, 1, 0, 0, 1])
    assert found == {"accuracy": pytest.approx(3 / 5), "f1": pytest.approx(2 / 3)}  # precision 2/3, recall 2/3
    assert score("rte", [0, 1, 1], [0, 0, 1]) == {"accuracy": pytest.approx(2 / 3)}


def test_matthews():
    # tp 2, tn 1, fp 1, fn 1: (2*1 - 1*1) / sqrt(3*3*2*2) = 1/6
    assert score("cola", [1, 1, 1, 0, 0], [1, 1, 0, 0, 1])["matthews"] == pytest.approx(1 / 6)
    assert score("cola", [1, 1, 1], [1, 0, 1])["matthews"] == 0.0


def test_correlations():
    found = score("stsb", [1.0, 2.0, 3.0, 5.0], [1.0, 2.0, 4.0, 4.0])
    # deviations (-1.75,-.75,.25,2.25) and (-1.75,-.75,1.25,1.25): 6.75 / sqrt(8.75 * 6.75)
    assert found["pearson"] == pytest.approx(6.75 / (8.75 * 6.75) ** 0.5, abs=1e-6)
    assert found["spearman"] == pytest.approx(0.9486833, abs=1e-6)


def test_a_constant_prediction_correlates_with_nothing():
    assert score("stsb", [2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) == {"pearson": 0.0, "spearman": 0.0}


def test_a_correlation_of_float32_is_computed_in_float64():
    values = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)
    assert score("stsb", *values) == score("stsb", *values.astype(np.float64))

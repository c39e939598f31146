"""GLUE's metrics, by scikit-learn and SciPy."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


def _correlation(function, predictions: np.ndarray, references: np.ndarray) -> float:
    """Pearson or Spearman; 0 where either side is constant, where they are not defined."""
    if np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return 0.0
    return float(function(predictions, references).statistic)


# The metric that the paper's Table 2 reports for a set is named in configs/task/; the others are recorded too.
_METRICS = {
    "accuracy": lambda predictions, references: float(accuracy_score(references, predictions)),
    "f1": lambda predictions, references: float(f1_score(references, predictions)),
    "matthews": lambda predictions, references: float(matthews_corrcoef(references, predictions)),
    "pearson": lambda predictions, references: _correlation(pearsonr, predictions, references),
    "spearman": lambda predictions, references: _correlation(spearmanr, predictions, references),
}
_SETS = {
    "cola": ("matthews", "accuracy"),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
}


def scores(name: str, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """`scores("mrpc", predictions, references)` -> {"accuracy": 0.9, "f1": 0.93}, as `evaluate.load("glue", "mrpc")`.

    Predictions are class indices (floats for STS-B), one per reference. All values are fractions. Sets other than CoLA,
    MRPC, QQP and STS-B have only accuracy. Source: Table 2 of the paper, and GLUE (Wang et al. 2019).
    """
    kind = np.float64 if name == "stsb" else np.int64  # float64, as of float32 a correlation would lose digits
    predictions, references = np.asarray(predictions, kind), np.asarray(references, kind)
    return {metric: _METRICS[metric](predictions, references) for metric in _SETS.get(name, ("accuracy",))}

"""GLUE's metrics as an `evaluate.Metric` of the project: as `evaluate.load("glue", ...)`, without a network."""

import datasets
import evaluate
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
    "macro_f1": lambda predictions, references: float(f1_score(references, predictions, average="macro")),
    "f1": lambda predictions, references: float(f1_score(references, predictions)),
    "matthews": lambda predictions, references: float(matthews_corrcoef(references, predictions)),
    "pearson": lambda predictions, references: _correlation(pearsonr, predictions, references),
    "spearman": lambda predictions, references: _correlation(spearmanr, predictions, references),
}
SETS = {
    "cola": ("matthews", "accuracy"),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
    # Of data beyond GLUE.
    "classes": ("accuracy", "macro_f1", "matthews"),
    "scores": ("pearson", "spearman"),
}


class Glue(evaluate.Metric):
    """`Glue(config_name="mrpc").compute(predictions=..., references=...)` -> {"accuracy": 0.9, "f1": 0.93}.

    Predictions are class indices (floats for STS-B), one per reference. All values are fractions. Sets other than CoLA,
    MRPC, QQP and STS-B have only accuracy; "classes" and "scores" are for data that are not GLUE's. Source: Table 2 of
    the paper, and GLUE (Wang et al. 2019).
    """

    def _info(self) -> evaluate.MetricInfo:
        kind = "float32" if self.config_name in ("stsb", "scores") else "int64"
        return evaluate.MetricInfo(
            description="GLUE",
            citation="Wang et al. 2019, GLUE: A Multi-Task Benchmark and Analysis Platform",
            features=datasets.Features({"predictions": datasets.Value(kind), "references": datasets.Value(kind)}),
        )

    def _compute(self, predictions, references) -> dict[str, float]:
        names = SETS.get(self.config_name, ("accuracy",))
        predictions, references = np.asarray(predictions), np.asarray(references)
        return {name: _METRICS[name](predictions, references) for name in names}

"""Accuracy as an `evaluate.Metric` of the project: as `evaluate.load("accuracy")`, without a network."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score


class Accuracy(evaluate.Metric):
    """`Accuracy().compute(predictions=..., references=...)` -> {"accuracy": 0.9}, of class indices, as a fraction."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="The share of predictions that are right",
            citation="",
            features=datasets.Features({name: datasets.Value("int64") for name in ("predictions", "references")}),
        )

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}

"""The five metrics of E2E NLG as one `evaluate.Metric`: BLEU, NIST, ROUGE-L, CIDEr and METEOR, without Java or Perl.

Only METEOR 1.5 needs Java. Where it is missing, that is printed once, and NLTK's METEOR has a name of its own.
"""

from functools import cache
from importlib.util import find_spec

import datasets
import evaluate

from experiments.errors import UserError
from experiments.metrics import coco, meteor, mteval


class E2E(evaluate.Metric):
    """`E2E().compute(predictions=["A pub."], references=[["A pub.", "It is a pub."]])` -> {"bleu": 1.0, ...}.

    One output and one or more references per item. The values: "bleu", "rouge_l", "meteor_nltk" and, where Java and
    pycocoevalcap are there, "meteor" as fractions; "nist" and "cider" as the official scripts print them.
    Raises UserError when it is made, if a library is missing.
    Source: Table 3 of the paper; the definitions are those of the E2E NLG challenge's scripts (Dušek et al. 2020).
    """

    def __init__(self, **kwargs):
        for library in ("sacrebleu", "nltk"):
            if find_spec(library) is None:
                raise UserError(
                    f"The metrics of E2E NLG need the library {library}, which is not installed: `make setup`."
                )
        _say_what_is_missing()
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="BLEU, NIST, ROUGE-L, CIDEr and METEOR of E2E NLG",
            citation="Dušek et al. 2020, Evaluating the State-of-the-Art of End-to-End Natural Language Generation",
            features=datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
        )

    def compute(self, *, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        """The metrics of N outputs and their N lists of references.

        Raises UserError for no outputs, another number of lists, an empty list and a blank reference; an output may be
        empty.
        """
        _check(predictions, references)
        return super().compute(predictions=predictions, references=references)

    def _compute(self, predictions, references) -> dict[str, float]:
        metrics = [mteval.bleu, mteval.nist, coco.rouge_l, coco.cider, meteor.meteor_nltk]
        if meteor.missing() is None:
            metrics.append(meteor.meteor)
        return {metric.__name__: metric(predictions, references) for metric in metrics}


@cache
def _say_what_is_missing() -> None:
    if lacks := meteor.missing():
        print(f"METEOR 1.5 is not computed, for want of {lacks}; NLTK's stands in as meteor_nltk.")


def _check(predictions: list[str], references: list[list[str]]) -> None:
    if len(predictions) == 0:
        raise UserError("No outputs to score: `predictions` is empty. Give one text for each meaning.")
    if len(predictions) != len(references):
        raise UserError(
            f"{len(predictions)} outputs but {len(references)} lists of references: give one list for each output."
        )
    for i, group in enumerate(references):
        if isinstance(group, str) or len(group) == 0:
            raise UserError(f"references[{i}] is {group!r}: give it a list of one text or more.")
        for j, reference in enumerate(group):
            if not isinstance(reference, str) or not reference.strip():
                raise UserError(f"references[{i}][{j}] is {reference!r}: give it a text, or leave it out.")
    for i, prediction in enumerate(predictions):
        if not isinstance(prediction, str):
            raise UserError(f"predictions[{i}] is {prediction!r}: give it a text; an output of nothing is ''.")

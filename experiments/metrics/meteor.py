"""METEOR: version 1.5 by its own Java program where Java and the package `pycocoevalcap` are there, and NLTK's.

`predictions` is a list of N texts, `references` N lists of texts. Both metrics are in 0..1.
"""

import shutil
import subprocess
from functools import cache
from importlib.util import find_spec

from experiments.metrics.ptb import tokens


@cache
def missing() -> str | None:
    """What METEOR 1.5 needs and this machine lacks, and how to supply it; None where it runs."""
    if find_spec("pycocoevalcap") is None:
        return "the package pycocoevalcap (pip install --constraint constraints.txt --editable '.[suite,meteor]')"
    java = shutil.which("java")  # macOS has a `java` that only prints that there is none: so it is run
    if java is None or subprocess.run([java, "-version"], capture_output=True, check=False).returncode:
        return "Java (any runtime from version 8 on, with `java` on the PATH)"
    return None


def meteor(predictions: list[str], references: list[list[str]]) -> float:
    """METEOR 1.5 of the corpus, English, normalized: exact, stem, synonym and paraphrase matches.

    The score is of statistics that are summed over the corpus; it is not the mean of the items' scores.
    Equal to `measure_scores.py` of the E2E challenge in 6 digits on E2E's validation set (its references as outputs).
    Only where `missing()` is None. Source: Denkowski and Lavie 2014, by pycocoevalcap.
    """
    from pycocoevalcap.meteor.meteor import Meteor

    outputs = {i: [" ".join(tokens(text))] for i, text in enumerate(predictions)}
    groups = {i: [" ".join(tokens(text)) for text in group] for i, group in enumerate(references)}
    corpus, _items = Meteor().compute_score(groups, outputs)
    return corpus


class _NoSynonyms:
    """In place of WordNet, which NLTK expects."""

    @staticmethod
    def synsets(word: str) -> tuple:
        return ()


def meteor_nltk(predictions: list[str], references: list[list[str]]) -> float:
    """NLTK's METEOR, exact and stem matches only: the mean over the items of the best reference's score.

    Synonyms would need WordNet, a download. Its constants (alpha 0.9, beta 3, gamma 0.5) are those of METEOR's first
    versions, so it lies far above METEOR 1.5: compare it with itself alone. Source: Lavie and Agarwal 2007.
    """
    from nltk.translate.meteor_score import meteor_score

    scores = (
        meteor_score([tokens(reference) for reference in group], tokens(prediction), wordnet=_NoSynonyms)
        for prediction, group in zip(predictions, references, strict=True)
    )
    return sum(scores) / len(predictions)

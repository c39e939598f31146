"""ROUGE-L and CIDEr as the COCO caption evaluation has them, on the tokens of `experiments.metrics.ptb`.

`predictions` is a list of N texts, `references` N lists of texts; both metrics are means over the N items.
"""

import math
from collections import Counter

from experiments.metrics.ptb import tokens

_BETA = 1.2  # of ROUGE-L: how much more recall counts than precision
_ORDER, _SIGMA = 4, 6.0  # of CIDEr: n-grams up to 4 words; the width, in words, of the Gaussian on the lengths


def rouge_l(predictions: list[str], references: list[list[str]]) -> float:
    """ROUGE-L in 0..1: F (beta 1.2) of the longest common subsequence, best precision and best recall of an item.

    The two may stem from different references. Equal to `measure_scores.py` of the E2E challenge in 6 digits on E2E's
    validation and test sets (references as outputs, whole and garbled). Source: Lin 2004, as in Chen et al. 2015.
    """
    return sum(map(_rouge_l, predictions, references)) / len(predictions)


def _rouge_l(prediction: str, group: list[str]) -> float:
    output, group = tokens(prediction), [tokens(reference) for reference in group]
    common = [_common(output, reference) for reference in group]
    if not any(common):
        return 0.0
    precision = max(common) / len(output)
    recall = max(n / len(reference) for n, reference in zip(common, group, strict=True) if reference)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _common(a: list[str], b: list[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0  # the cell up and to the left
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def cider(predictions: list[str], references: list[list[str]]) -> float:
    """CIDEr, 0..10: ten times the cosine of tf-idf weighted n-grams, mean over n = 1..4, the references and the items.

    It is the variant called CIDEr-D: no stemming, clipped to the reference's counts, a Gaussian (sigma 6) on the
    difference of lengths. An n-gram's document frequency is the number of items with it in any reference, so that a
    single item scores 0. Within 0.001 of `measure_scores.py` on the texts of `rouge_l`,
    since a few tokens differ.
    Source: Vedantam et al. 2015, equations 2, 4 and 5.
    """
    outputs = [tokens(prediction) for prediction in predictions]
    groups = [[tokens(reference) for reference in group] for group in references]
    documents = Counter(gram for group in groups for gram in set().union(*map(_grams, group)))

    def weigh(words: list[str]) -> list[dict[tuple, float]]:
        """n-gram -> its count times its inverse document frequency; one dictionary for each n."""
        weights = [{} for _ in range(_ORDER)]
        for gram, count in _grams(words).items():
            weights[len(gram) - 1][gram] = count * math.log(len(groups) / max(documents[gram], 1))
        return weights

    total = 0.0
    for output, group in zip(outputs, groups, strict=True):
        weights = weigh(output)
        for reference in group:
            near = math.exp(-((len(output) - len(reference)) ** 2) / (2 * _SIGMA**2))
            total += near * sum(map(_cosine, weights, weigh(reference))) / _ORDER / len(group)
    return 10 * total / len(outputs)


def _grams(words: list[str]) -> Counter:
    """How often each n-gram of 1 to 4 words occurs."""
    return Counter(tuple(words[i : i + n]) for n in range(1, _ORDER + 1) for i in range(len(words) - n + 1))


def _cosine(output: dict[tuple, float], reference: dict[tuple, float]) -> float:
    """The cosine of two sparse vectors, the output's entries clipped to the reference's; 0 where either is empty."""
    norms = math.hypot(*output.values()) * math.hypot(*reference.values())
    product = sum(min(weight, reference.get(gram, 0.0)) * reference.get(gram, 0.0) for gram, weight in output.items())
    return product / norms if norms else 0.0

"""BLEU-4 and NIST-5 of a corpus, as NIST's mteval-v13a scores it: its tokens, case ignored, any number of references.

Items may differ in their number of references. `predictions` is a list of N texts, `references` N lists of texts.
"""

import math
from collections import Counter
from itertools import zip_longest

_ORDER = 5  # of NIST; BLEU's is 4
_BETA = -math.log(0.5) / math.log(1.5) ** 2  # two thirds of the references' length halve the score


def bleu(predictions: list[str], references: list[list[str]]) -> float:
    """BLEU-4 in 0..1: clipped over all references, brevity by the closest of their lengths (the shorter, if two are).

    Equal in 4 digits to mteval-v13a on E2E's validation set, and to `measure_scores.py -p` of the E2E challenge on its
    validation and test sets (references as outputs, whole and garbled); -p alone miscounts outputs of
    fewer than 4 words.
    Source: Papineni et al. 2002, by sacrebleu.
    """
    from sacrebleu.metrics import BLEU

    streams = list(zip_longest(*references))  # stream i: each item's reference i, None where it has fewer
    return BLEU(lowercase=True, tokenize="13a", force=True).corpus_score(predictions, streams).score / 100


def nist(predictions: list[str], references: list[list[str]]) -> float:
    """NIST-5, 0 and up: the information in bits of the matched n-grams, per n-gram of the output, summed over n = 1..5.

    An n-gram tells log2(count of its first n-1 words / its count) in all references; brevity is judged by the mean
    length of an item's references. Equal to `measure_scores.py -p` in 6 digits on the texts of `bleu`; mteval-v13a
    itself weighs items by their number of references where it judges brevity (7.37 on the garbled texts, 7.04 here).
    Source: Doddington 2002, equations 2 and 3.
    """
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    tokenize = Tokenizer13a()

    def grams(text: str) -> Counter:
        words = tokenize(text.lower()).split()
        return Counter(tuple(words[i : i + n]) for n in range(1, _ORDER + 1) for i in range(len(words) - n + 1))

    seen, matched, length = Counter(), Counter(), 0.0
    written = Counter()  # n -> n-grams of the outputs
    for prediction, group in zip(predictions, references, strict=True):
        found, allowed, words = grams(prediction), Counter(), 0
        for reference in map(grams, group):
            seen.update(reference)
            allowed |= reference
            words += sum(count for gram, count in reference.items() if len(gram) == 1)
        matched.update(found & allowed)
        seen[()] += words
        length += words / len(group)
        for gram, count in found.items():
            written[len(gram)] += count
    information = [0.0] * (_ORDER + 1)
    for gram, count in matched.items():
        information[len(gram)] += count * math.log2(seen[gram[:-1]] / seen[gram])
    ratio = min(1.0, written[1] / length)
    penalty = math.exp(-_BETA * math.log(ratio) ** 2) if ratio else 0.0
    return penalty * sum(information[n] / max(written[n], 1) for n in range(1, _ORDER + 1))

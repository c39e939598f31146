"""E2E NLG's metrics against values worked by hand, the official scripts' values, and what must hold of each."""

import subprocess
import sys
from math import exp, log2, sqrt
from types import SimpleNamespace

import pytest
from pytest import approx

from experiments.errors import UserError
from experiments.metrics import e2e, meteor
from experiments.metrics.coco import cider, rouge_l
from experiments.metrics.e2e import E2E
from experiments.metrics.meteor import meteor_nltk
from experiments.metrics.mteval import bleu, nist
from experiments.metrics.ptb import tokens

OUTPUTS = [
    "Loch Fyne serves cheap Italian food by the river.",
    "The Green Man is a family-friendly pub near Café Sicilia, and it costs £20-25.",
    "there isn't any coffee shop in the city centre",
    "Strada has a 5 out of 5 rating.",
    "Cotto, near the Ranch, doesn't welcome children.",
    "Cheap pub, cheap food, cheap wine.",
]
REFERENCES = [
    [
        "Loch Fyne serves Italian food at a low price. It is by the river.",
        "By the river, Loch Fyne serves cheap Italian food.",
    ],
    [
        "The Green Man is a family-friendly pub.",
        "Near Café Sicilia is The Green Man, a pub for families; meals cost £20-25.",
        "The Green Man costs £20-25 and is near Café Sicilia.",
    ],
    ["There isn't a coffee shop in the city centre."],
    [
        "Strada is rated 5 out of 5.",
        "Strada has a customer rating of 5 out of 5.",
        "Customers rate Strada's food 5 out of 5.",
        "Strada has a high rating.",
    ],
    [
        "Cotto is near the Ranch and isn't for children.",
        "Children aren't welcome at Cotto, which is near the Ranch.",
    ],
    ["A cheap pub with cheap food."],
]
# What the E2E NLG challenge's measure_scores.py -p computes of the sentences above.
OFFICIAL = {"bleu": 0.5118732, "nist": 5.5580083, "rouge_l": 0.7455259, "cider": 4.0221338}
OFFICIAL_METEOR = 0.4665738


@pytest.fixture
def without_java(monkeypatch):
    """A machine without METEOR 1.5."""
    monkeypatch.setattr(meteor, "missing", lambda: "the Java of this test")
    e2e._say_what_is_missing.cache_clear()
    yield
    e2e._say_what_is_missing.cache_clear()


@pytest.fixture
def score(without_java):
    """score(predictions, references) -> the metrics that every machine has."""
    return lambda predictions, references: E2E().compute(predictions=predictions, references=references)


# --- by hand ---


def test_bleu():
    assert bleu(["a b c d e"], [["a b c d f"]]) == approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert bleu(["a b c d"], [["a b c d e"]]) == approx(exp(1 - 5 / 4))  # all n-grams match: brevity alone
    # five words are as near to four as three are: the shorter counts, no brevity penalty
    assert bleu(["a b c d"], [["a b c d e", "f g h"]]) == approx(1.0)
    # clipped: of four "the" two are matched, of three "the the" one, then half and a quarter of nothing (mteval-13a)
    assert bleu(["the the the the"], [["the the cat sat"]]) == approx(
        (2 / 4 * 1 / 3 * (1 / 2) / 2 * (1 / 4) / 1) ** 0.25
    )
    assert bleu(["A, B.C (d)"], [["a , b . c ( d )"]]) == approx(1.0)  # mteval's tokens, case ignored


def test_nist():
    # information, of 3 words: a log2(3/2), b log2(3/1), "a b" log2(2/1); two thirds of the length halve the score
    assert nist(["a b"], [["a b a"]]) == approx(0.5 * ((log2(3 / 2) + log2(3)) / 2 + 1))
    # references of 2 and 4 words: 3 on average; of 6 words a and b are 3 each (1 bit); "a b" follows from a (0 bits)
    assert nist(["a b"], [["a b", "a b a b"]]) == approx(0.5)
    assert nist(["b b"], [["b c", "b d"]]) == approx(0.5)  # no reference has b (1 bit) twice: one of two words matches


def test_rouge_l():
    # "a c" in order of the first: precision 2/4; "b" of the second: recall 1/1
    assert rouge_l(["a b c d"], [["a c x y z w", "b"]]) == approx(2.44 * 0.5 * 1 / (1 + 1.44 * 0.5))
    assert rouge_l(["a"], [["a a"]]) == approx(2.44 * 1 * 0.5 / (0.5 + 1.44 * 1))  # one "a" matches one
    assert rouge_l(["a b", "x"], [["b a"], ["y"]]) == approx(
        0.5 / 2
    )  # order counts: one of two words; and no match at all


def test_cider():
    assert cider(["red pub", "blue bar"], [["red pub"], ["blue bar"]]) == approx(10 * 2 / 4)  # no 3-grams and 4-grams
    # "bar" is in both items and weighs nothing; "red" is half of the output's two equal weights: cosine 1/sqrt(2)
    assert cider(["red pub", "bar"], [["red bar"], ["bar"]]) == approx(10 * 1 / sqrt(2) / 4 / 2)
    # a word more than the reference: exp(-1 / (2 * 6^2)); the mean of two references, one of which has nothing
    near = 1 / sqrt(2) * exp(-1 / 72) / 4
    assert cider(["red pub", "x"], [["red", "blue"], ["y"]]) == approx(10 * near / 2 / 2)
    # clipped: twice the reference's count is no better than once, cosine (1 * 1) / (2 * 1)
    assert cider(["red red", "x"], [["red"], ["y"]]) == approx(10 * exp(-1 / 72) * (1 / 2) / 4 / 2)


def test_meteor_of_nltk():
    # two of three words, one chunk: F 2/3, penalty 0.5 * (1/2)^3
    assert meteor_nltk(["a b c"], [["a b d", "z"]]) == approx(2 / 3 * 15 / 16)
    assert meteor_nltk(["pubs serve"], [["pub serves"]]) == approx(15 / 16)  # by their stems
    assert meteor_nltk(["big", "x"], [["large"], ["x"]]) == approx(0.5 / 2)  # no synonyms; one chunk of one word


@pytest.mark.parametrize(
    "text, words",
    [
        ("It isn't Strada's; they'll pay £20-25.", "it is n't strada 's they 'll pay # 20-25"),
        ("A family-friendly pub (5/5), with 'hors d'oeuvres'.", "a family-friendly pub ( 5/5 ) with hors d'oeuvres"),
        ("£10.50 for 1,000 g at the Café: good!", "# 10.50 for 1,000 g at the café good"),
        ("Near the city center., by The pub.It is big.", "near the city center. by the pub.it is big"),
        ("By St. John's, etc. and more.", "by st. john 's etc. and more"),
        (" ... ", ""),
    ],
)
def test_tokens_are_those_of_the_penn_treebank(text, words):
    assert tokens(text) == words.split()


# --- the official scripts ---


def test_the_official_scripts_agree(score):
    found = score(OUTPUTS, REFERENCES)
    assert set(found) == {*OFFICIAL, "meteor_nltk"}
    assert {name: found[name] for name in OFFICIAL} == approx(OFFICIAL, abs=1e-6)


@pytest.mark.slow  # Java reads 61 MB of paraphrases first
def test_meteor_is_the_official_one():
    if lacks := meteor.missing():
        pytest.skip(f"METEOR 1.5 needs {lacks}")
    assert E2E().compute(predictions=OUTPUTS, references=REFERENCES)["meteor"] == approx(OFFICIAL_METEOR, abs=1e-6)


# --- what must hold ---


def test_a_perfect_output_scores_one(score):
    found = score([group[-1] for group in REFERENCES], REFERENCES)
    assert found["bleu"] == approx(1.0) and found["rouge_l"] == approx(1.0) and found["meteor_nltk"] > 0.99
    worse = score(OUTPUTS, REFERENCES)
    assert all(found[name] > worse[name] for name in worse)


def test_the_order_of_items_and_of_references_does_not_matter(score):
    turned = score(OUTPUTS[::-1], [group[::-1] for group in REFERENCES[::-1]])
    assert turned == approx(score(OUTPUTS, REFERENCES))


def test_another_reference_never_lowers_rouge_and_meteor():
    for i, group in enumerate(REFERENCES):
        for metric in (rouge_l, meteor_nltk):
            one = metric([OUTPUTS[0]], [group])
            for other in REFERENCES[i - 1]:
                assert metric([OUTPUTS[0]], [[*group, other]]) >= one


def test_an_empty_output_scores_nothing(score):
    assert score(["", "  "], [["A pub."], ["Two pubs.", "Two bars."]]) == dict.fromkeys([*OFFICIAL, "meteor_nltk"], 0.0)
    some = score(["", *OUTPUTS[1:]], REFERENCES)
    assert all(0 < some[name] < value for name, value in score(OUTPUTS, REFERENCES).items())


# --- bad input ---


@pytest.mark.parametrize(
    "predictions, references, says",
    [
        ([], [], "`predictions` is empty"),
        (["a"], [["a"], ["b"]], "1 outputs but 2 lists"),
        (["a", "b"], [["a"], []], r"references\[1\] is \[\]"),
        (["a", "b"], [["a"], "b"], r"references\[1\] is 'b'"),
        (["a"], [["a", " "]], r"references\[0\]\[1\] is ' '"),
        (["a"], [["a", None]], r"references\[0\]\[1\] is None"),
        (["a", None], [["a"], ["a"]], r"predictions\[1\] is None"),
    ],
)
def test_bad_input_is_named(score, predictions, references, says):
    with pytest.raises(UserError, match=says):
        score(predictions, references)


@pytest.mark.parametrize("library", ["sacrebleu", "nltk"])
def test_a_missing_library_is_named(monkeypatch, library):
    monkeypatch.setattr(e2e, "find_spec", lambda name: None if name == library else object())
    with pytest.raises(UserError, match=f"{library}.*make setup"):
        E2E()


def test_missing_java_is_said_once(without_java, capsys):
    E2E(), E2E()
    assert capsys.readouterr().out.count("for want of the Java of this test") == 1


def test_java_that_does_not_run_is_missing(monkeypatch):
    """macOS has a `java` that only says that there is none."""
    monkeypatch.setattr(meteor, "find_spec", lambda name: object())
    monkeypatch.setattr(meteor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(meteor.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    assert meteor.missing.__wrapped__().startswith("Java")
    monkeypatch.setattr(meteor.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0))
    assert meteor.missing.__wrapped__() is None


def test_the_libraries_are_imported_when_they_are_needed():
    code = "import sys, experiments.metrics.coco, experiments.metrics.meteor, experiments.metrics.mteval\n"
    code += "print({'nltk', 'sacrebleu'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"

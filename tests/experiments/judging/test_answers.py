"""Answers: the final one is found, and numbers count whatever they are written like."""

import pytest

from experiments.metrics.answers import CHECKS, exact, final, number


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("4 + 4 = 8.\nThe answer is: 8", "8"),
        ("The answer is 8.", "8"),
        ("so the final answer is: $8.50!", "8.50"),
        ("<<4+4=8>>8 birds\n#### 8", "8"),
        ("The answer is: 7\nNo, it is more. The answer is: 8", "8"),
        ("The answer is: 7\n#### 8", "8"),
        ("The answer is: 8\n\nQuestion: What else?", "8"),
        ("The answer is: .5", ".5"),
        ("The answer is: ", ""),
        ("It is 8.", None),
        ("", None),
    ],
)
def test_the_final_answer_is_what_stands_behind_the_last_ending(text, last):
    assert final(text) == last


@pytest.mark.parametrize(
    ("given", "wanted", "right"),
    [
        ("18", "18", True),
        ("18.0", "18", True),
        ("$18.00.", "18", True),
        ("1,234,567", "1234567", True),
        ("50%", "50", True),
        ("3/4", "0.75", True),
        ("-3 / 4", "-.75", True),
        (".5", "5", False),
        ("-18", "18", False),
        ("18", "19", False),
        ("3/0", "0", False),
        ("18 birds", "18", False),  # as PEFT's benchmark has it
        ("1 1/2", "1.5", True),
        ("-1 1/2", "-3/2", True),
        ("1 1/2", "11/2", False),
        ("2 1 1/2", "2.5", False),
        ("3, 4", "34", False),
        ("3 4", "34", False),
        ("3,4", "34", False),
        ("1,23", "123", False),
        ("1,234, 5", "12345", False),
        ("3, 4", "3, 4", True),
        ("-$1,234.50", "-1234.5", True),
        ("1,000/2", "500", True),
        ("\N{MINUS SIGN}5", "-5", True),
        ("- 5", "-5", True),
        ("2.5e3", "2500", True),
        ("20/35", "4/7", True),
        ("0.5/2", "1/4", True),
        ("9007199254740993", "9007199254740992", False),  # equal as floats
        ("5.", "5", True),
        (".", ".", True),
        ("", "0", False),
        ("\\frac{3}{4}", "\\frac{3}{4}", True),
        ("x", "y", False),
        ("1e999999999", "1", False),  # at once
        ("9" * 5000, "9", False),
    ],
)
def test_numbers_are_compared_by_value_and_the_rest_as_words(given, wanted, right):
    assert number(f"Well.\nThe answer is: {given}", f"Because.\n#### {wanted}") is right


def test_an_output_without_an_ending_is_wrong_and_an_answer_without_one_an_error():
    assert not number("18", "#### 18")
    with pytest.raises(ValueError, match="no final answer in '18'"):
        number("#### 18", "18")


def test_exact_is_letter_by_letter_but_for_spaces_around():
    assert exact(" a b\n", "a b") and not exact("a  b", "a b") and not exact("A b", "a b")
    assert (CHECKS["exact"], CHECKS["number"]) == (exact, number)

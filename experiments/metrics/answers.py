"""Whether an answer is right, where there is one right answer."""

import re
from fractions import Fraction

# Three digits of exponent at most: 1e999999999 is a number of that many digits.
DECIMAL = r"(?=\.?\d)(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d*)?(?:e[-+]?\d{1,3})?"
WHOLE = r"(\d+)\s+(?=\d+\s*/\s*\d+$)"  # of a mixed number
NUMBER = re.compile(rf"([-+]?)\s?\$?\s?(?:{WHOLE})?({DECIMAL})(?:\s*/\s*({DECIMAL}))?", re.IGNORECASE)
FINAL = re.compile(r"(?:the (?:final )?answer is:?|####)\s*([^\n]*)", re.IGNORECASE)


def exact(output: str, answer: str) -> bool:
    """Equal letter by letter, apart from surrounding spaces."""
    return output.strip() == answer.strip()


def number(output: str, answer: str) -> bool:
    """Compares what follows the last "The answer is" (MetaMathQA) or "####" (GSM8K): equal numbers, or equal words.

    Numbers such as 1,000, -$5, 50% (which is 50), 3/4, 1 1/2 and 2e3 are compared exactly; what is not a single number,
    such as "3, 4", is compared as words. An output without such an ending is wrong. PEFT's method comparison does the
    same, but reads neither commas nor 1 1/2 and compares floats. Raises ValueError for an answer without an ending.
    """
    expected, found = final(answer), final(output)
    if expected is None:
        raise ValueError(f"no final answer in {answer!r}")
    return found is not None and _value(found) == _value(expected)


def final(text: str) -> str | None:
    """The final answer of a text; None where it has none."""
    found = FINAL.findall(text)
    return found[-1].lstrip(" $").rstrip(" .!?$%") if found else None


def _value(text: str) -> Fraction | str:
    found = NUMBER.fullmatch(text.replace("\N{MINUS SIGN}", "-"))
    if not found:
        return text
    sign, *parts = (group and group.replace(",", "") for group in found.groups())
    try:
        whole, above, below = (Fraction(part or left_out) for part, left_out in zip(parts, "011", strict=True))
        value = whole + above / below
    except (ValueError, ZeroDivisionError):
        return text
    return -value if sign == "-" else value


CHECKS = {"exact": exact, "number": number}

"""Whether an answer is right, where there is one right answer."""

import re
from fractions import Fraction

NUMBER = re.compile(r"[-+]?(\d+/\d+|\d+\.?\d*|\.\d+)")  # no exponent: 1e999999999 has that many digits
FINAL = re.compile(r"(?:the (?:final )?answer is:?|####)\s*([^\n]*)", re.IGNORECASE)


def exact(output: str, answer: str) -> bool:
    """Letter by letter, but for spaces around it."""
    return output.strip() == answer.strip()


def number(output: str, answer: str) -> bool:
    """By what stands behind the last "The answer is" (MetaMathQA) or "####" (GSM8K): equal numbers, or equal words.

    Numbers may be written as 1,000, $5, 50% or 3/4. An output without such an ending is wrong. As PEFT's method
    comparison does it, which reads no thousands' commas. Raises ValueError for an answer without an ending.
    """
    expected, found = final(answer), final(output)
    if expected is None:
        raise ValueError(f"no final answer in {answer!r}")
    return found is not None and _value(found) == _value(expected)


def final(text: str) -> str | None:
    """What is given as the final answer, or None."""
    found = FINAL.findall(text)
    return found[-1].lstrip(" $").rstrip(" .!?$%") if found else None


def _value(text: str) -> Fraction | str:
    plain = re.sub("[, $]", "", text)
    try:
        return Fraction(plain) if NUMBER.fullmatch(plain) else text
    except (ValueError, ZeroDivisionError):
        return text


CHECKS = {"exact": exact, "number": number}

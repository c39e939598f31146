"""The rating in what a judge says, by one of two rules.

The judge is asked for it "by strictly following this format: [[rating]]". Judges that reason, quote a scale or leave a
bracket out say other numbers too.
"""

import re
from collections.abc import Callable

from experiments.record import Rule

NUMBER = r"\s*(-?\d+\.?\d*)\s*"
RATING = re.compile(rf"\[\[{NUMBER}\]\]|\brating[\s:*_]*\[{NUMBER}\](?!\])", re.IGNORECASE)
OPENING, CLOSING = (rf"(?i:[<\[]{slash}(?:think|thinking|thought|reasoning)[>\]])" for slash in ("", "/"))
BLOCK = re.compile(rf"{OPENING}.*?{CLOSING}", re.DOTALL)
FASTCHAT = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))


def agreed(judgment: str) -> float | None:
    """The one number that stands in double brackets or, behind "Rating", in single ones, once reasoning is removed.

    Reasoning is <think>...</think> and the like; a tag alone has the reasoning on its side. None where there is no
    number, or where several differ: a scale that is quoted, a second thought.
    """
    answer = re.split(OPENING, re.split(CLOSING, BLOCK.sub("", judgment))[-1])[0]
    found = {float(double or single) for double, single in RATING.findall(answer)}
    return found.pop() if len(found) == 1 else None


def fastchat(judgment: str) -> float | None:
    """The first number in double brackets, else in single ones. Source: FastChat's llm_judge/common.py."""
    found = next(filter(None, (pattern.search(judgment) for pattern in FASTCHAT)), None)
    return float(found[1]) if found else None


RULES: dict[Rule, Callable[[str], float | None]] = {"agreed": agreed, "fastchat": fastchat}

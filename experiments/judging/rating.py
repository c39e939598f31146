"""Two rules that find the rating in a judge's reply.

The prompt asks for it "by strictly following this format: [[rating]]", but replies may contain other numbers: in
reasoning, in a quoted scale, in single brackets.
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
    """The only number in double brackets, or in single ones after "Rating", outside the reasoning; else None.

    Reasoning is <think>...</think> and the like; it also precedes a lone closing tag and follows a lone opening one.
    """
    answer = re.split(OPENING, re.split(CLOSING, BLOCK.sub("", judgment))[-1])[0]
    found = {float(double or single) for double, single in RATING.findall(answer)}
    return found.pop() if len(found) == 1 else None


def fastchat(judgment: str) -> float | None:
    """The first number in double brackets, else in single ones. Source: FastChat, llm_judge/common.py."""
    found = next(filter(None, (pattern.search(judgment) for pattern in FASTCHAT)), None)
    return float(found[1]) if found else None


RULES: dict[Rule, Callable[[str], float | None]] = {"agreed": agreed, "fastchat": fastchat}

"""E2E's meanings and references in the form that the LoRA paper's code feeds to GPT-2.

    name[The Vaults], priceRange[more than £30], near[Café Adriatic]
    name : The Vaults | price : more than £ 30 | near : Café Adriatic

Source: microsoft/LoRA, examples/NLG/data/e2e: its files hold texts with spaces around the punctuation.
Measured against its validation and test files: every meaning is the same, and 99.1 % of the references.
"""

import re
from functools import cache

from experiments.errors import UserError

NAMES = {"eatType": "Type", "priceRange": "price", "familyFriendly": "family friendly"}  # the others stay
ATTRIBUTE = re.compile(r"(?:^|,)\s*([^,\[\]]+)\[([^\[\]]*)\]")

# Applied in this order. Numbers keep their commas and colons, and a pound sign after a hyphen stays with it.
SPACED = (
    (re.compile(r"(?<=\w)-(?=\w)"), " - "),
    (re.compile(r"n't\b", re.IGNORECASE), r" \g<0>"),
    (re.compile(r"(?<=\w)'(?:s|re|ve|ll|d|m)\b", re.IGNORECASE), r" \g<0>"),
    (re.compile(r"(?<!\w)'(?=\w{3})|(?<=\w)'(?!\w)"), r" ' "),
    (re.compile(r"(?<![\d-])[£$€]|[!?;\"()\[\]]|[,:](?!\d)"), r" \g<0> "),
    (re.compile(r"\.+(?=[\s\"')]|$)"), r" \g<0> "),
)


def spaced(text: str) -> str:
    """A text with spaces around its punctuation and before its clitics: "It's £20." -> "It 's £ 20 ."."""
    for pattern, replacement in SPACED:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


@cache  # a meaning has eight references or so
def linear(meaning: str) -> str:
    """A meaning as one line of text, the same however it is spaced.

    Raises UserError where it has no attribute or is of another form.
    """
    plain = " ".join(meaning.split())
    attributes = ATTRIBUTE.findall(plain)
    if not attributes or ATTRIBUTE.sub("", plain).strip():
        what = "is empty" if not meaning.strip() else "is not of the form name[The Vaults], area[riverside]"
        raise UserError(f"the meaning {meaning!r} {what}; correct that row or remove it")
    return " | ".join(f"{NAMES.get(name.strip(), name.strip())} : {spaced(value)}" for name, value in attributes)

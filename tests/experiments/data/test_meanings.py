"""The form in which E2E's meanings and references are given to GPT-2."""

import pytest

from experiments.data.meanings import linear, spaced
from experiments.errors import UserError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It's a kid-friendly pub, near Zizzi.", "It 's a kid - friendly pub , near Zizzi ."),
        ("Prices: £20-25 (moderate)!  Isn't it?", "Prices : £ 20 - 25 ( moderate ) ! Is n't it ?"),
        ("Between £20-£25, at 10:30, 1,000 seats", "Between £ 20-£25 , at 10:30 , 1,000 seats"),
        ("The 'Blue Spice' is nice...", "The ' Blue Spice ' is nice ..."),
        ("Café Adriatic is rated 4.5.", "Café Adriatic is rated 4.5 ."),
    ],
)
def test_punctuation_stands_apart(text, wanted):
    assert spaced(text) == wanted
    assert spaced(wanted.replace("£ 20", "£20")) == wanted  # what is apart stays as it is


def test_a_meaning_becomes_the_line_of_the_lora_papers_code():
    meaning = "name[The Vaults], eatType[pub], priceRange[more than £30], familyFriendly[no], near[Café Adriatic]"
    assert linear(meaning) == (
        "name : The Vaults | Type : pub | price : more than £ 30 | family friendly : no | near : Café Adriatic"
    )
    assert linear("customer rating[5 out of 5],area[riverside]") == "customer rating : 5 out of 5 | area : riverside"


@pytest.mark.parametrize("meaning", ["", "  ", "The Vaults", "name[The Vaults", "name[The Vaults] and more"])
def test_a_meaning_without_attributes_or_with_more_is_refused(meaning):
    with pytest.raises(UserError, match="is empty" if not meaning.strip() else "is not of the form"):
        linear(meaning)

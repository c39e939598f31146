"""A configuration whose files were chosen before is what Hydra composes of all words together, errors included."""

import pytest
from hydra import compose
from omegaconf import OmegaConf

from experiments import composing
from experiments.errors import UserError


def by_hydra(name, *overrides):
    with composing._explained():
        return compose(name, composing.written(overrides))


def result(compose, words):
    """What becomes of the words: the values, and whether unknown keys are refused; or an error."""
    try:
        found = compose("config", *words.split())
    except UserError as error:
        return str(error)
    return OmegaConf.to_container(found), OmegaConf.is_struct(found), OmegaConf.is_readonly(found)


VALUES = ("seed=3", "seed=3 seed=4 seed=3", "seed='7'", "method.n=7 method.n=8", "method.n_pattern={query:128}")
VALUES += ("recipe.lr=null recipe.head_lr=${recipe.lr}", "method.n=7 method={n:3}", "tracking.project=a")
FILES = ("recipe=roberta_mini/fourierft", "model=roberta_mini seed=3 task=glue_mrpc", "tracking=off recipe.lr=1")
UNUSUAL = ("+method.new=1 method.new=2", "++method.n=8", "method.n=9 ~method.n", "hydra.verbose=true")
WRONG = (
    "recipe.wrong=1",
    "runs=a,b",
    "model=none",
    "model@here=roberta_mini",
    "no.group@here=1",
    "seed={",
    "seed.a=1",
    "seed@here=5",
)


@pytest.mark.parametrize("words", VALUES + FILES + UNUSUAL + WRONG)
def test_values_set_afterwards_are_those_that_hydra_sets(words):
    composing.composed("config", "exp=glue_rte")
    words = f"exp=glue_rte {words}"
    assert result(composing.composed, words) == result(by_hydra, words)


@pytest.mark.parametrize(
    ("words", "fails"), [(VALUES[0], False), (FILES[0], False), (UNUSUAL[0], False), (WRONG[0], True)]
)
def test_these_words_compose_and_those_do_not(words, fails):
    assert isinstance(result(by_hydra, f"exp=glue_rte {words}"), str) == fails


@pytest.mark.parametrize("word", ["model=null", "recipe=null", "method=3", "task=true"])
def test_what_is_no_name_of_a_file_is_told_with_those_there_are(word):
    with pytest.raises(UserError, match=f"{word}: no name of a file; choose one of .*"):
        composing.composed("config", "exp=glue_rte", word)

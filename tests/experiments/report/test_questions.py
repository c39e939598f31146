"""What users asked: every answer shows what supports it."""

from experiments.paper.printed import Asked, read_facts
from experiments.record import ROOT
from experiments.report.summary import asked_table
from tests.handmade import PAPER

QUESTIONS = read_facts(Asked, PAPER)


def test_every_link_is_there_and_every_question_once():
    missing = [link for one in QUESTIONS for link in one.links if not (ROOT / link).exists()]
    assert missing == []
    asked = [one.place for one in QUESTIONS]
    assert len(set(asked)) == len(asked) == 16
    assert {f"official #{number}" for number in (1, 3, 5, 6, 12, 13, 17, 18, 20)} < set(asked)


def test_a_row_names_the_source_the_state_and_the_files():
    first = asked_table(QUESTIONS).rows[0]
    assert first[0] == "[official #1](https://github.com/Chaos96/fourierft/issues/1)" and first[2] == "partly"
    assert "[vit_base.yaml](../configs/model/vit_base.yaml)" in first[3]

"""FastChat's files and its grading of single answers: read strictly, filled exactly, averaged as it does."""

import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from experiments.errors import UserError
from experiments.judging.answers import Answer
from experiments.judging.grading import (
    FAILURE,
    NEED_REFERENCE,
    Judgment,
    gradings,
    means,
    score,
)
from experiments.judging.questions import BENCHES, Question, digest, find_bench
from experiments.lines import read_lines, write_lines
from tests.conftest import ROOT
from tests.judging import answers, write_benches

QUESTION = {"question_id": 1, "category": "math", "turns": ["a", "b"]}


@pytest.fixture
def root(tmp_path):
    return write_benches(tmp_path)


def wanted(root, name, given=None):
    bench = find_bench(root, name)
    return gradings(bench, answers(name) if given is None else given)


# --- files ------------------------------------------------------------------------------------------------------------


def test_answers_come_back_as_they_were_and_the_same_has_the_same_id(tmp_path):
    said = [Answer.of(2, ["<b>\u2028\n{x}", ""], "m"), Answer.of(1, ["ä"], "m")]
    write_lines(tmp_path / "m.jsonl", said)
    assert read_lines(tmp_path / "m.jsonl", Answer) == said
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [["question_id", "answer_id", "model_id", "choices", "tstamp"]] * 2
    assert lines[0]["choices"] == [{"index": 0, "turns": said[0].turns}]
    write_lines(tmp_path / "n.jsonl", [*said, Answer.of(3, ["ä"], "m")])
    ids = [json.loads(line)["answer_id"] for line in (tmp_path / "n.jsonl").read_text().splitlines()]
    assert ids[:2] == [line["answer_id"] for line in lines] and len(set(ids)) == 3


def test_an_answer_that_changed_since_it_was_written_is_refused(tmp_path):
    path = tmp_path / "m.jsonl"
    write_lines(path, answers("mt_bench"))
    path.write_text(path.read_text().replace("answer 101.2", "another 101.2"))
    with pytest.raises(UserError, match=r"m\.jsonl, line 2: .*answer_id [0-9a-f]{22} is of another answer; restore it"):
        read_lines(path, Answer)
    path.write_text(re.sub('"answer_id": "[0-9a-f]*"', '"answer_id": "n3yxLBaTnvd2X8ZRKDyqmn"', path.read_text()))
    assert read_lines(path, Answer)[1].turns[1] == "another 101.2"  # FastChat's ids tell nothing of the words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({**QUESTION, "level": 3}, ["level", "3"]),
        ({"question_id": 1, "category": "math"}, ["turns", "required"]),
        ({**QUESTION, "question_id": "7"}, ["question_id", "'7'"]),
        ({**QUESTION, "turns": []}, ["turns", "[]"]),
        ({**QUESTION, "required_temperature": -1}, ["required_temperature", "-1"]),
        ({**QUESTION, "question_id": 0}, ["question_id 0 stands on a line before it"]),
        ("{", ["JSON"]),
    ],
)
def test_a_wrong_line_is_named_with_field_and_value(tmp_path, line, words):
    path = tmp_path / "question.jsonl"
    path.write_text(f"{json.dumps({**QUESTION, 'question_id': 0})}\n{line if line == '{' else json.dumps(line)}\n")
    with pytest.raises(UserError) as caught:
        read_lines(path, Question)
    assert all(word in str(caught.value) for word in [f"{path}, line 2: ", *words]), caught.value


def test_what_is_missing_is_named_with_where_to_get_it(root):
    with pytest.raises(UserError, match="FOURIERFT_ASSETS"):
        find_bench(None, "mt_bench")
    with pytest.raises(UserError, match="mt_bench, vicuna_bench"):
        find_bench(root, "other")
    (root / "datasets/llm_judge/mt_bench/question.jsonl").unlink()
    with pytest.raises(UserError, match=r"mt_bench/question.jsonl.*fastchat/llm_judge/data"):
        find_bench(root, "mt_bench")


def test_the_digest_is_of_every_file(root):
    files = [path for path in sorted((root / "datasets/llm_judge").rglob("*.jsonl"))]
    seen = {digest(root)}
    for path in files:
        path.write_text(path.read_text() + "\n")
        seen.add(digest(root))
    assert len(seen) == len(files) + 1 == 6


@pytest.mark.parametrize(
    ("category", "required", "expected"),
    [
        *((category, None, 0.7) for category in ("writing", "roleplay", "generic")),
        *((category, None, 0.0) for category in ("extraction", "math", "coding", "reasoning")),
        *((category, None, 0.1) for category in ("stem", "humanities")),
        ("math", 0.3, 0.3),
        ("writing", 0.0, 0.0),
    ],
)
def test_temperatures_are_the_categories(category, required, expected):
    asked = Question(question_id=1, category=category, turns=["a"], required_temperature=required)
    assert asked.temperature == expected


def test_questions_and_answers_need_neither_torch_nor_an_endpoint():
    code = "import sys, experiments.judging.questions, experiments.judging.answers; "
    code += "assert not {'torch', 'openai', 'datasets'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# --- grading ----------------------------------------------------------------------------------------------------------


def test_the_judge_is_sent_exactly_the_filled_prompts_in_fastchats_order(root):
    assert [(one.question_id, one.turn, one.prompt, one.system, one.user) for one in wanted(root, "mt_bench")] == [
        (81, 1, "single-v1", "You grade.", "Q: question 81.1\nA: answer 81.1"),
        (131, 1, "single-v1", "You grade.", "Q: question 131.1\nA: answer 131.1"),
        (101, 1, "single-math-v1", "You grade sums.", "Q: question 101.1\nRight: right 101.1\nA: answer 101.1"),
        (111, 1, "single-math-v1", "You grade sums.", "Q: question 111.1\nRight: right 111.1\nA: answer 111.1"),
        *(
            (
                i,
                2,
                "single-v1-multi-turn",
                "Grade the second.",
                f"question {i}.1|answer {i}.1|question {i}.2|answer {i}.2",
            )
            for i in (81, 131)
        ),
        *(
            (
                i,
                2,
                "single-math-v1-multi-turn",
                "Grade the second sum.",
                f"question {i}.1|right {i}.1|question {i}.2|right {i}.2||answer {i}.1|answer {i}.2",
            )
            for i in (101, 111)
        ),
    ]
    assert [(one.question_id, one.turn, one.prompt) for one in wanted(root, "vicuna_bench")] == [
        (1, 1, "single-v1"),
        (2, 1, "single-v1"),
        (68, 1, "single-math-v1"),
    ]
    first = wanted(root, "mt_bench")[0]
    assert first.messages == [{"role": "system", "content": first.system}, {"role": "user", "content": first.user}]


def test_braces_in_an_answer_are_text(root):
    given = answers("vicuna_bench", said="{question} {0} {{")
    assert wanted(root, "vicuna_bench", given)[0].user.endswith("A: {question} {0} {{ 1.1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda given: given[2:], "no answer to question 81, 101;"),
        (lambda given: [*given, Answer.of(5, ["a"], "m")], "not to mt_bench's questions: 5"),
        (lambda given: [Answer.of(81, ["a"], "m"), *given[1:]], "too few turns answered of question 81"),
    ],
)
def test_answers_that_do_not_match_the_questions_are_named(root, given, words):
    with pytest.raises(UserError, match=words):
        wanted(root, "mt_bench", given(answers("mt_bench")))


def test_a_reference_or_a_prompt_that_is_missing_is_named(root):
    folder = root / "datasets/llm_judge"
    references = folder / "vicuna_bench/reference_answer/gpt-4.jsonl"
    write_lines(references, [Answer.of(1, ["a"], "gpt-4")])
    with pytest.raises(UserError, match=r"gpt-4.jsonl of question 68"):
        wanted(root, "vicuna_bench")
    prompts = folder / "judge_prompts.jsonl"
    content = prompts.read_text()
    prompts.write_text(content.replace("{question_2}", "{question_9}"))
    with pytest.raises(UserError, match=r"single-v1-multi-turn cannot be filled .*question_9.*question_1, question_2"):
        wanted(root, "mt_bench")
    prompts.write_text(content.replace('"single-math-v1"', '"other"'))
    with pytest.raises(UserError, match="no prompt single-math-v1;"):
        wanted(root, "mt_bench")


@pytest.mark.parametrize(
    ("judgment", "agreed", "fastchat"),
    [
        ("Good. Rating: [[8]]", 8, 8),
        ("[[10]]", 10, 10),
        ("[[1]]", 1, 1),
        ("[[7.]]", 7, 7),
        ("[[9.5]], that is: **Rating**: [[9.50]]", 9.5, 9.5),
        ("[3] first, but [[9]]", 9, 9),
        ("Rating: [6]", 6, 6),
        ("**Rating:** [6]", 6, 6),
        ("<think>\nSay [[3]].\n</think>\nFine. [[9]]", 9, 3),
        ("<think>a <think>b</think> [[3]]</think> [[9]]", 9, 3),
        ("[[3]]</think> [[9]]", 9, 3),
        ("[THINK][[3]][/THINK] [[9]]", 9, 3),
        ("[[9]] <reasoning>[[3]]</reasoning>", 9, 9),
        ("<thinking> [[3]] and then the tokens were", FAILURE, 3),
        ("[[7.5]] and later [[2]]", FAILURE, 7.5),
        ("On a scale of [[1]] to [[10]]: [[8]]", FAILURE, 1),
        ("Rating: [6], no, [[9]]", FAILURE, 9),
        ("a[2] is read too early. Rating: 9", FAILURE, 2),
        ("a[2] is read too early. Rating: [9]", 9, 2),
        ("The operating: [3] is good", FAILURE, 3),
        ("[[-3]] or [[8]]", FAILURE, 8),
        ("[[0]]", FAILURE, FAILURE),
        ("[[11]]", FAILURE, FAILURE),
        ("[[10.5]]", FAILURE, FAILURE),
        ("[[-3]]", FAILURE, FAILURE),
        ("Rating: 8/10", FAILURE, FAILURE),
        ("[[rating]]", FAILURE, FAILURE),
        ("", FAILURE, FAILURE),
    ],
)
def test_a_score_is_what_all_ratings_agree_on_or_fastchats_first_number(judgment, agreed, fastchat):
    assert (score(judgment, "agreed"), score(judgment, "fastchat")) == (agreed, fastchat)


def test_means_are_over_all_grades_that_have_a_score(root, tmp_path):
    given = {(81, 1): 9, (81, 2): FAILURE, (101, 1): 3, (101, 2): 5, (111, 1): 1, (111, 2): FAILURE}
    given |= {(131, 1): FAILURE, (131, 2): FAILURE}
    judgments = [
        Judgment(
            question_id=i,
            model="m",
            judge=("j", "single-v1"),
            user_prompt="u",
            judgment="t",
            score=x,
            turn=turn,
            tstamp=1.0,
        )
        for (i, turn), x in given.items()
    ]
    assert means(find_bench(root, "mt_bench"), judgments) == {
        "mt_bench": 18 / 4,
        "mt_bench_turn_1": 13 / 3,
        "mt_bench_turn_2": 5,
        "mt_bench_writing": 9,
        "mt_bench_reasoning": 4,
        "mt_bench_math": 1,
    }
    vicuna = [one.model_copy(update={"question_id": i}) for one, i in zip(judgments[2:4], (2, 1), strict=True)]
    found = means(find_bench(root, "vicuna_bench"), [one.model_copy(update={"turn": 1}) for one in vicuna])
    assert found == {"vicuna": 4, "vicuna_common_sense": 3, "vicuna_generic": 5}
    write_lines(tmp_path / "j.jsonl", judgments)
    assert read_lines(tmp_path / "j.jsonl", Judgment) == judgments


# --- the real benches -------------------------------------------------------------------------------------------------


@pytest.mark.assets
def test_the_real_benches_make_240_judgments_with_a_reference_where_one_is_needed(assets):
    if not (assets / "datasets/llm_judge").is_dir():
        pytest.skip("needs FastChat's files in FOURIERFT_ASSETS")
    counts = {}
    for name in BENCHES:
        bench = find_bench(assets, name)
        assert len(bench.questions) == 80
        given = [
            Answer.of(one.question_id, [f"<{i}>" for i, _ in enumerate(one.turns, 1)], "m") for one in bench.questions
        ]
        grades = gradings(bench, given)
        counts[name] = Counter((one.turn, one.prompt) for one in grades)
        categories = {one.question_id: one.category for one in bench.questions}
        assert {categories[i] for i in bench.references} == set(categories.values()) & set(NEED_REFERENCE)
        assert len(bench.references) == sum(kind in NEED_REFERENCE for kind in categories.values())
        for one in grades:
            shown = [*(f"<{turn}>" for turn in range(1, one.turn + 1))]
            if categories[one.question_id] in NEED_REFERENCE:
                shown += bench.references[one.question_id][: one.turn]
            assert all(text in one.user for text in shown) and one.system
    assert counts["mt_bench"] == {
        (1, "single-v1"): 50,
        (1, "single-math-v1"): 30,
        (2, "single-v1-multi-turn"): 50,
        (2, "single-math-v1-multi-turn"): 30,
    }
    assert counts["vicuna_bench"] == {(1, "single-v1"): 70, (1, "single-math-v1"): 10}

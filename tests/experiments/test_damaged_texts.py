"""Damaged caches, answers, questions, judgments and outputs: the right result, or one message that names the file."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings

from experiments.errors import UserError
from experiments.judging import compare
from experiments.judging.answers import Answer
from experiments.judging.cache import Cache, Reply
from experiments.judging.grading import gradings, judged
from experiments.judging.questions import digest, find_bench
from experiments.lines import read_lines, write_lines
from scripts import score_texts
from tests.damage import damaged
from tests.judging import answers, write_benches

SAID = ["Fine. [[9]]", "<think>é\u2028[[3]]</think> [[7]]", ""]
REPLY = {"asked": "judge", "model": "judge-1", "system_fingerprint": None, "finish_reason": "stop"}
REPLY |= {"prompt_tokens": 10, "completion_tokens": 2, "tstamp": 1.5}
ROWS = [
    {"meaning": "name[Zizzi]", "output": "Zizzi .", "references": ["Zizzi.", "It is Zizzi."]},
    {"meaning": "name[Cotto]", "output": "é\u2028", "references": ["Cotto."]},
]


@pytest.fixture(params=[pytest.param(50, id="few"), pytest.param(5_000, id="many", marks=pytest.mark.slow)])
def fuzz(request):
    """fuzz(file, check, named): call `check()` after each of many accidents to the file; a UserError has to name it."""

    def fuzz(file, check, named=None):
        named = named or re.escape(str(file))
        content, counts = file.read_bytes(), {"read": 0, "refused": 0}

        @settings(max_examples=request.param, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(damaged(content))
        def once(changed):
            file.write_bytes(changed)
            try:
                check()
                counts["read"] += 1
            except UserError as error:
                counts["refused"] += 1
                assert re.search(named, str(error)), error

        once()
        file.write_bytes(content)
        print(file.name, counts)

    return fuzz


def test_a_cache_gives_what_was_said(tmp_path, fuzz):
    cache = Cache(tmp_path / "judged.jsonl")
    for number, content in enumerate(SAID):
        cache.add(Reply(**REPLY, key=f"{number:064x}", content=content))
    said = dict(cache._replies)

    def check():
        found = Cache(cache.path)
        assert found._replies.items() <= said.items()
        found.add(Reply(**REPLY, key="0", content="asked for again"))
        assert Cache(cache.path)._replies == found._replies, "nothing is lost behind what was cut off"

    fuzz(cache.path, check)


def test_answers_are_those_that_were_written(tmp_path, fuzz):
    said = answers("mt_bench", said="é\u2028")
    file = tmp_path / "m.jsonl"
    write_lines(file, said)

    def what(answer):
        return answer.question_id, answer.turns, answer.model_id

    def check():
        assert all(what(answer) in map(what, said) for answer in read_lines(file, Answer))

    fuzz(file, check)


@pytest.mark.parametrize(
    "name", ["mt_bench/question.jsonl", "mt_bench/reference_answer/gpt-4.jsonl", "judge_prompts.jsonl"]
)
def test_questions_make_the_same_grades_or_are_told_by_their_digest(tmp_path, fuzz, name):
    write_benches(tmp_path)
    file = tmp_path / "datasets/llm_judge" / name

    def grades():
        bench = find_bench(tmp_path, "mt_bench")
        return gradings(bench, answers("mt_bench"))

    before = grades(), digest(tmp_path)

    def check():
        assert (found := grades()) == before[0] or digest(tmp_path) != before[1]
        assert len(found) <= 8

    fuzz(file, check, "mt_bench|judge_prompts")


def test_judgments_that_are_shown_are_of_the_answers_beside_them(tmp_path, fuzz):
    bench = find_bench(write_benches(tmp_path), "vicuna_bench")
    said = answers("vicuna_bench")
    file = tmp_path / "data/model_answer/m.jsonl"
    write_lines(file, said)
    wanted = gradings(bench, said)
    replies = [Reply(**REPLY, key="0", content=content) for content in SAID]
    beside = tmp_path / "data/model_judgment/judge_single.m.jsonl"
    write_lines(beside, judged(wanted, replies, "agreed"))

    def check():
        side = compare.side("m", {"vicuna_bench": file}, None)
        assert compare.render([bench], side, side).count("<article") == 3

    fuzz(beside, check, r"m\.jsonl")


@pytest.mark.parametrize("given", ["outputs.jsonl", "outputs.txt", "references.txt"])
def test_outputs_are_read_as_texts_with_their_references(tmp_path, fuzz, given):
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    contents = {"outputs.jsonl": lines, "outputs.txt": [row["output"] for row in ROWS]}
    contents["references.txt"] = "\n\n".join("\n".join(row["references"]) for row in ROWS).split("\n")
    files = {name: tmp_path / name for name in contents}
    for name, file in files.items():
        file.write_text("".join(f"{line}\n" for line in contents[name]), encoding="utf-8")
    read = ("outputs.jsonl", None) if given == "outputs.jsonl" else ("outputs.txt", "references.txt")

    def check():
        texts, groups = score_texts.read(*(name and files[name] for name in read))
        assert len(texts) == len(groups) and all(isinstance(text, str) for text in texts)
        assert all(group and all(isinstance(text, str) for text in group) for group in groups)

    fuzz(files[given], check, r"(outputs|references)\.")

"""A judge's grades of a run: everything judged once, kept through whatever happens, and a record that says by whom."""

import json
import os
import re
import shutil
import signal
import threading
import time

import pytest

from experiments import record
from experiments.judging.grading import Judgment
from experiments.judging.questions import digest
from experiments.lines import read_lines, write_lines
from scripts import judge
from tests import forked
from tests.handmade import leave, run
from tests.judging import KEY, answers, completion, finished, serving, write_benches

MT_GRADES, VICUNA_GRADES = 8, 3


@pytest.fixture
def judging(tmp_path, monkeypatch):
    """judging(path, ...) -> exit code of the command over a small bench, below tmp_path."""
    write_benches(tmp_path / "assets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOURIERFT_ASSETS", str(tmp_path / "assets"))
    return lambda *arguments: judge.main([*map(str, arguments), "--model", "judge"])


def the_judged(folder):
    [path] = (folder / "results/judged").rglob("*.json")
    return path, record.read(path)


def grade(number, body):
    """Sums are worth 4, second turns 6, everything else 9."""
    system = body["messages"][0]["content"]
    return f"Because. [[{4 if 'sum' in system else 6 if 'second' in system else 9}]]"


def test_a_run_is_judged_into_a_record_of_its_own(judging, tmp_path, monkeypatch, capsys):
    path = finished(tmp_path)
    before = path.read_bytes()
    with serving(monkeypatch, grade) as endpoint:
        assert judging(path, "--price", 30, 60) == 0
        assert len(endpoint.bodies) == len(set(endpoint.asked)) == MT_GRADES + VICUNA_GRADES
        body = endpoint.bodies[0]
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge", 0, 2048)
        assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert path.read_bytes() == before
    where, made = the_judged(tmp_path)
    folder = path.relative_to(tmp_path / "records")
    assert where == tmp_path / "results/judged/judge@judge-2024@agreed" / folder
    scores = {"mt_bench": 5.75, "mt_bench_turn_1": 6.5, "mt_bench_turn_2": 5, "mt_bench_writing": 7.5}
    scores |= {"mt_bench_reasoning": 4, "mt_bench_math": 4, "mt_bench_extraction": 7.5}
    scores |= {"mt_bench_judgments": 8, "mt_bench_failures": 0, "mt_bench_prompt_tokens": 800}
    scores |= {"mt_bench_completion_tokens": 160, "vicuna": 22 / 3, "vicuna_generic": 9, "vicuna_common_sense": 9}
    scores |= {"vicuna_math": 4, "vicuna_judgments": 3, "vicuna_failures": 0, "vicuna_prompt_tokens": 300}
    scores |= {"vicuna_completion_tokens": 60}
    assert made.metrics.test.last == made.metrics.test.best == {"accuracy": 0.4} | scores
    grades = MT_GRADES + VICUNA_GRADES
    assert made.judge.model_dump(exclude={"ended"}) == {
        "name": "judge",
        "revision": "judge-2024",
        "prompts": digest(tmp_path / "assets"),
        "rule": "agreed",
        "judgments": grades,
        "failures": 0,
        "prompt_tokens": 100 * grades,
        "completion_tokens": 20 * grades,
        "cost_usd": pytest.approx(grades * (100 * 30 + 20 * 60) / 1e6),
    }
    plain = record.read(path)
    assert made.model_copy(update={"judge": None, "metrics": plain.metrics}) == plain
    assert made.metrics.model_copy(update={"test": plain.metrics.test}) == plain.metrics
    answered = tmp_path / "runs" / folder.with_suffix("") / "last"
    lines = read_lines(answered / "model_judgment/judge@judge-2024@agreed_single.mt_bench.jsonl", Judgment)
    assert [(one.question_id, one.turn, one.judge[1], one.score) for one in lines[::4]] == [
        (81, 1, "single-v1", 9),
        (81, 2, "single-v1-multi-turn", 6),
    ]
    printed = capsys.readouterr().out
    for words in (
        "| 5.75 | 6.50 | 5.00 | 7.50 |",
        "7.33",
        "calls 11, cached 0, tokens in 1,100, tokens out 220, cost 0.05 USD",
        "common sense",
    ):
        assert words in printed
    assert not any(KEY in file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    assert KEY not in printed


def test_what_is_judged_is_never_judged_again(judging, tmp_path, monkeypatch, capsys):
    one, two = finished(tmp_path), finished(tmp_path, seed=11111)
    with serving(monkeypatch, grade) as endpoint:
        assert judging(one, two) == 0  # both say the same
        first = {path: path.read_text() for path in (tmp_path / "results").rglob("*.json")}
        assert len(first) == 2 and len(endpoint.bodies) == MT_GRADES + VICUNA_GRADES
        capsys.readouterr()
        assert judging(one, two, "--selection", "best") == 0  # the best epoch is the last
        assert len(endpoint.bodies) == MT_GRADES + VICUNA_GRADES
        assert "calls 0, cached 22" in capsys.readouterr().out
    for path, text in first.items():
        assert json.loads(path.read_text()) | {"judge": 0} == json.loads(text) | {"judge": 0}


def test_benches_and_selections_are_added_to_what_was_judged_before(judging, tmp_path, monkeypatch):
    path = finished(tmp_path, {"last": "last", "best": "best"}, best_is_last=False)
    with serving(monkeypatch, grade) as endpoint:
        assert judging(path, "--benches", "vicuna_bench", "--price", 1, 1) == 0
        _, made = the_judged(tmp_path)
        assert "vicuna" in made.metrics.test.last and "vicuna" not in made.metrics.test.best
        spent = made.judge.cost_usd
        assert judging(path, "--benches", "vicuna_bench") == 0
        assert the_judged(tmp_path)[1].judge.cost_usd == spent
        assert judging(path, "--benches", "vicuna_bench", "--selection", "best") == 0
        assert judging(path, "--benches", "mt_bench") == 0
        assert len(endpoint.bodies) == 2 * VICUNA_GRADES + MT_GRADES
        assert sum("best" in text for text in endpoint.asked) == VICUNA_GRADES
    _, made = the_judged(tmp_path)
    assert {"vicuna", "mt_bench"} <= made.metrics.test.last.keys()
    assert "vicuna" in made.metrics.test.best and "mt_bench" not in made.metrics.test.best
    assert made.judge.judgments == 2 * VICUNA_GRADES + MT_GRADES and made.judge.cost_usd is None


def test_grades_by_other_judges_prompts_or_of_another_run_are_never_mixed(judging, tmp_path, monkeypatch, capsys):
    path = finished(tmp_path)
    with serving(monkeypatch, grade):
        assert judging(path) == 0
        where, made = the_judged(tmp_path)
        before = where.read_bytes()

        prompts = tmp_path / "assets/datasets/llm_judge/judge_prompts.jsonl"
        old = prompts.read_text()
        prompts.write_text(old + "\n")
        assert judging(path) == 2 and "the judge's prompts was" in capsys.readouterr().err
        prompts.write_text(old)

        plain = record.read(path)
        record.write(plain.model_copy(update={"ended": "2025-01-02T00:00:00Z"}), path)
        assert judging(path) == 2 and "a run that ended 2025-01-01" in capsys.readouterr().err
        record.write(plain, path)
        assert where.read_bytes() == before

        other = made.model_copy(
            update={"judge": made.judge.model_copy(update={"name": "judge@judge-2024", "revision": None})}
        )
        record.write(other, where)
        assert judging(path) == 2 and "the judge's name was 'judge@judge-2024'" in capsys.readouterr().err

        assert judging(path, "--revision", "b") == 0  # a folder of its own
    judges = sorted(at.name for at in (tmp_path / "results/judged").iterdir())
    assert judges == ["judge@b@agreed", "judge@judge-2024@agreed"]


def test_another_rule_costs_nothing_and_its_scores_stand_apart(judging, tmp_path, monkeypatch, capsys):
    path = finished(tmp_path)
    with serving(monkeypatch, lambda number, body: "<think>[[3]] or so</think> Fine. [[9]]") as endpoint:
        assert judging(path) == judging(path, "--rule", "fastchat") == 0
        assert len(endpoint.bodies) == MT_GRADES + VICUNA_GRADES
    found = {made.judge.rule: made for made in record.find(tmp_path / "results/judged")}
    assert {rule: made.metrics.test.last["mt_bench"] for rule, made in found.items()} == {"agreed": 9, "fastchat": 3}
    names = sorted(file.name for file in (tmp_path / "runs").rglob("*_single.mt_bench.jsonl"))
    assert names == ["judge@judge-2024@agreed_single.mt_bench.jsonl", "judge@judge-2024_single.mt_bench.jsonl"]

    [where] = (tmp_path / "results/judged/judge@judge-2024").rglob("*.json")  # as all were before there were rules
    older = json.loads(where.read_text())
    del older["judge"]["rule"]
    where.write_text(json.dumps(older))
    assert record.read(where).judge.rule == "fastchat"
    agreed = next((tmp_path / "results/judged/judge@judge-2024@agreed").rglob("*.json"))
    where.replace(agreed)
    assert judging(path) == 2 and "holds what belongs to judge@judge-2024/instruct/" in capsys.readouterr().err


def test_a_judge_that_changes_meanwhile_is_refused(judging, tmp_path, monkeypatch, capsys):
    def answer(number, body):
        return 200, {}, completion("[[5]]", model=f"judge-{number % 2}")

    with serving(monkeypatch, answer):
        assert judging(finished(tmp_path)) == 2
    assert "several models: judge-0, judge-1" in capsys.readouterr().err


def test_judgments_without_a_score_are_counted_and_left_out(judging, tmp_path, monkeypatch, capsys):
    said = ["no score", "[[11]]", "", "[[8]]", "[[3]]", "[[4]]", "[[5]]", "[[6]]", "[[7]]", "[[0]]", "[[2]]"]
    with serving(monkeypatch, lambda number, body: said[number]):
        assert judging(finished(tmp_path), "--parallel", 1) == 0
    _, made = the_judged(tmp_path)
    assert made.metrics.test.last["mt_bench"] == pytest.approx((8 + 3 + 4 + 5 + 6) / 5)
    assert made.metrics.test.last["vicuna"] == 4.5
    assert (made.judge.judgments, made.judge.failures) == (11, 4)
    assert "mt_bench_extraction" in made.metrics.test.last

    with serving(monkeypatch, lambda number, body: "I like it."):
        assert judging(finished(tmp_path, {"last": "other"}, seed=1)) == 2
    assert "in 8 of 8 judgments the rule 'agreed' finds no score" in capsys.readouterr().err


def test_an_endpoint_that_fails_in_the_middle_loses_nothing(judging, tmp_path, monkeypatch, capsys):
    path = finished(tmp_path)
    broken = (401, {}, {"error": {"message": f"no more for {KEY}"}})
    with serving(monkeypatch, lambda number, body: broken if number == 9 else grade(number, body)) as endpoint:
        assert judging(path, "--parallel", 1) == 2
        captured = capsys.readouterr()
        assert "OPENAI_API_KEY" in captured.err and KEY not in captured.err + captured.out
        assert "5.75" in captured.out, "the first bench was done and is shown"
        assert the_judged(tmp_path)[1].judge.judgments == MT_GRADES
        assert judging(path) == 0
        assert len(endpoint.bodies) == MT_GRADES + VICUNA_GRADES + 1
    assert the_judged(tmp_path)[1].judge.judgments == MT_GRADES + VICUNA_GRADES


@pytest.mark.parametrize(("sent", "parallel"), [(signal.SIGINT, 1), (signal.SIGTERM, 4)])
def test_a_command_that_is_interrupted_keeps_what_is_paid_for_and_goes_on(
    judging, tmp_path, monkeypatch, sent, parallel
):
    path = finished(tmp_path)
    reached = threading.Barrier(parallel)

    def answer(number, body):
        if 4 <= number < 4 + parallel and process.runs():
            if reached.wait() == 0:
                os.kill(process.pid, sent)
            time.sleep(0.3)
        return grade(number, body)

    with serving(monkeypatch, answer) as endpoint:
        options = (str(path), "--model", "judge", "--parallel", str(parallel))
        process = forked.python("-m", "scripts.judge", *options)
        code, (_, said) = process.wait(60), process.said()
        assert code == 130 and "Traceback" not in said, said
        assert said.endswith("judge: interrupted; the same command goes on from here\n")
        kept = (tmp_path / "runs/judged.jsonl").read_text().splitlines()
        assert len(kept) == len(endpoint.bodies) == 4 + parallel, "no request behind those under way, and all kept"
        assert sorted(file.name for file in (tmp_path / "runs").iterdir()) == ["instruct", "judged.jsonl"]
        assert judging(path) == 0
        assert len(endpoint.bodies) == MT_GRADES + VICUNA_GRADES


def test_two_at_once_do_not_pay_twice(judging, tmp_path, monkeypatch, capsys):
    path, second = finished(tmp_path), []

    def answer(number, body):
        if not second:
            second.append(0)
            second[0] = judging(path)
        return grade(number, body)

    with serving(monkeypatch, answer) as endpoint:
        assert judging(path, "--parallel", 1) == 0
        assert second == [2] and len(endpoint.bodies) == MT_GRADES + VICUNA_GRADES
    told = f"judged.jsonl is in use by process {os.getpid()} of .*: wait until it has ended, or give another --cache"
    assert re.search(told, capsys.readouterr().err)


def test_plain_answers_are_judged_without_a_record(judging, tmp_path, monkeypatch, capsys):
    file = tmp_path / "data/model_answer/vicuna-13b.jsonl"
    write_lines(file, answers("vicuna_bench", model="vicuna-13b"))
    with serving(monkeypatch, grade):
        assert judging("--answers", file, "--bench", "vicuna_bench") == 0
    assert "| vicuna-13b | 7.33 |" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()
    [judgments] = (tmp_path / "data/model_judgment").iterdir()
    assert judgments.name == "judge@judge-2024@agreed_single.vicuna-13b.jsonl"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give records, or --answers"),
        (["--answers", "a.jsonl"], "--answers needs --bench"),
        (["--answers", "a.jsonl", "--bench", "mt_bench"], "a.jsonl: cannot be read"),
        (["record.json", "--runs", "elsewhere"], "elsewhere/instruct"),
        (["record.json", "--assets", "nowhere"], "fastchat/llm_judge/data"),
        (["other.json"], "none of the records is of a finished run with a test set"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(judging, tmp_path, monkeypatch, capsys, arguments, words):
    (other,) = leave(tmp_path / "records", run(exp="instruct", status="oom"))
    places = {"record.json": finished(tmp_path), "other.json": other}
    with serving(monkeypatch) as endpoint:
        assert judging(*(places.get(word, word) for word in arguments)) == 2
        assert not endpoint.bodies
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cut", "code", "told"),
    [("sum", 0, "4 of the failures: the judge's reply was cut at 2048"), ("", 2, "8 replies were cut at 2048 tokens")],
)
def test_how_many_replies_were_cut_is_told(judging, tmp_path, monkeypatch, capsys, cut, code, told):
    def answer(number, body):
        reply = completion("At first sight")
        reply["choices"][0]["finish_reason"] = "length"
        return (200, {}, reply) if cut in body["messages"][0]["content"] else "Fine. [[7]]"

    path = finished(tmp_path)
    with serving(monkeypatch, answer):
        assert judging(path) == code
    assert told in "".join(capsys.readouterr())


def test_a_file_that_the_record_tells_of_is_missed_before_the_first_request(judging, tmp_path, monkeypatch, capsys):
    path = finished(tmp_path)
    shutil.rmtree(tmp_path / "assets/datasets/llm_judge/vicuna_bench")
    with serving(monkeypatch) as endpoint:
        assert judging(path, "--benches", "mt_bench") == 2 and not endpoint.bodies
    assert "vicuna_bench: missing" in capsys.readouterr().err


def test_questions_left_out_by_one_run_stop_the_command_before_the_first_request(
    judging, tmp_path, monkeypatch, capsys
):
    one, two = finished(tmp_path), finished(tmp_path, seed=1)
    file = next((tmp_path / "runs").rglob("seed1-*/last/model_answer/mt_bench.jsonl"))
    write_lines(file, answers("mt_bench")[1:])
    with serving(monkeypatch) as endpoint:
        assert judging(one, two) == 2 and not endpoint.bodies
    assert "no answer to question 81" in capsys.readouterr().err

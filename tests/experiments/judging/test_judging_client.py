"""The judge's endpoint: asked once each, within its limits, through what passes, and told plainly of what does not."""

import re
import time

import pytest

from experiments.errors import UserError
from experiments.judging.cache import Cache, content_key
from experiments.judging.client import RETRIES, Client, Endpoint
from tests.judging import KEY, completion, serving


def say(text):
    return [{"role": "user", "content": text}]


@pytest.fixture
def ask(tmp_path):
    """ask("a", "b", rate=...) -> the replies' contents, by a new client over the same cache; ask.client is that one."""

    def ask(*texts, max_tokens=9, **settings):
        endpoint = Endpoint.from_environment(settings.pop("model", "judge"), **settings)
        ask.client = Client(endpoint, Cache(tmp_path / "cache.jsonl"))
        return [reply.content for reply in ask.client.complete([say(text) for text in texts], 0.0, max_tokens)]

    return ask


def test_replies_come_in_order_and_the_same_is_asked_once_ever(monkeypatch, ask):
    with serving(monkeypatch, lambda _, body: body["messages"][0]["content"].upper()) as judging:
        assert ask("a", "b", "a", "c") == ["A", "B", "A", "C"]
        assert sorted(judging.asked) == ["a", "b", "c"]
        assert (ask.client.calls, ask.client.prompt_tokens, ask.client.completion_tokens) == (3, 300, 60)
        assert ask("c", "d", "a") == ["C", "D", "A"]
        assert judging.asked[3:] == ["d"] and (ask.client.calls, ask.client.cached) == (1, 2)
        expected = {"model": "judge", "messages": say("d"), "temperature": 0.0, "max_tokens": 9, "n": 1}
        assert judging.bodies[-1] == expected and judging.keys == [f"Bearer {KEY}"] * 4


@pytest.mark.parametrize("change", [{"model": "other"}, {"max_tokens": 8}, {"revision": "b"}])
def test_another_request_is_not_the_same(monkeypatch, ask, change):
    with serving(monkeypatch) as judging:
        ask("a")
        ask("a", **change)
        assert len(judging.bodies) == 2


def test_a_key_tells_requests_apart_by_all_that_is_sent():
    keys = {
        content_key("m", say("a"), 0.0, 9),
        content_key("m", say("b"), 0.0, 9),
        content_key("m", say("a"), 0.5, 9),
        content_key("m", [{"role": "system", "content": "a"}], 0.0, 9),
    }
    assert len(keys) == 4 and all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_what_passes_is_tried_again(monkeypatch, ask):
    def answer(number, body):
        hiccups = [(429, {"Retry-After": "0"}, {}), (500, {}, {}), (503, {}, b"busy"), None, (408, {}, {})]
        return hiccups[number] if number < len(hiccups) else "at last"

    with serving(monkeypatch, answer) as judging:
        assert ask("a") == ["at last"]
        assert len(judging.bodies) == 6 and ask.client.calls == 1


def test_a_slow_answer_is_asked_for_again(monkeypatch, ask):
    with serving(monkeypatch, lambda number, body: time.sleep(0.4) or "late" if number == 0 else "soon"):
        assert ask("a", timeout=0.15) == ["soon"]


@pytest.mark.parametrize(
    ("given", "tries", "words"),
    [
        ((401, {}, {"error": {"message": f"Incorrect key: {KEY}"}}), 1, ["OPENAI_API_KEY", "Incorrect key: ***"]),
        ((403, {}, {}), 1, ["OPENAI_API_KEY"]),
        ((404, {}, {"error": {"message": "unknown"}}), 1, ["no model 'judge'", "--model", "OPENAI_BASE_URL"]),
        ((400, {}, {"error": {"message": "context too long"}}), 1, ["does not accept", "context too long"]),
        ((429, {}, {}), RETRIES + 1, ["too many requests", "--rate"]),
        ((500, {}, {}), RETRIES + 1, ["cannot answer", "OPENAI_BASE_URL"]),
        (None, RETRIES + 1, ["cannot answer", "OPENAI_BASE_URL"]),
        ((200, {}, b"<html>"), 1, ["no chat completion"]),
        ((200, {"Content-Type": "text/html"}, b"<html>"), 1, ["no chat completion"]),
        ((200, {}, {"choices": []}), 1, ["no chat completion"]),
        ((200, {}, {"choices": [{"message": None}]}), 1, ["no chat completion"]),
        ((200, {}, ["x"]), 1, ["no chat completion"]),
    ],
)
def test_what_does_not_pass_ends_in_one_message_without_the_key(monkeypatch, ask, tmp_path, given, tries, words):
    with serving(monkeypatch, lambda number, body: given) as judging:
        with pytest.raises(UserError) as caught:
            ask("a")
        assert all(word in str(caught.value) for word in ["127.0.0.1", *words]), caught.value
        assert KEY not in str(caught.value) and len(judging.bodies) == tries
        assert caught.value.__suppress_context__ and not caught.value.__cause__, "a traceback would show the request"


def test_an_endpoint_that_hangs_is_given_up(monkeypatch, ask):
    monkeypatch.setattr("experiments.judging.client.RETRIES", 1)
    with (
        serving(monkeypatch, lambda number, body: time.sleep(0.3)),
        pytest.raises(UserError, match=r"no answer in 0\.1"),
    ):
        ask("a", timeout=0.1)


def test_what_was_judged_before_a_failure_stays_and_the_rest_is_not_begun(monkeypatch, ask, tmp_path):
    texts = [f"t{i}" for i in range(12)]
    refused = (400, {}, {})
    with serving(monkeypatch, lambda number, body: refused if number == 5 else "ok") as judging:
        with pytest.raises(UserError):
            ask(*texts, parallel=1)
        first = list(judging.asked)
        assert len(first) == 6
        assert ask(*texts) == ["ok"] * 12
        again = set(first) & set(judging.asked[len(first) :])
        assert again == {first[5]}, "only the one that failed is asked again"


def test_a_reply_without_usage_or_text_counts_nothing(monkeypatch, ask):
    body = completion(None) | {"usage": None}
    with serving(monkeypatch, lambda number, _: (200, {}, body)):
        assert ask("a") == [""] and ask.client.prompt_tokens == 0


def test_limits_of_rate_and_of_requests_at_once_hold(monkeypatch, ask):
    with serving(monkeypatch, lambda number, body: time.sleep(0.03) or "ok") as judging:
        ask(*"abcdefgh", parallel=3)
        assert judging.most_at_once == 3
    hiccup = (429, {}, {})
    with serving(monkeypatch, lambda number, body: hiccup if number == 1 else "ok") as judging:
        ask(*"ijkl", parallel=4, rate=1200)  # one in 50 ms; the retry counts too
        assert len(judging.times) == 5 and judging.times[-1] - judging.times[0] >= 0.15


def test_a_line_that_was_cut_off_is_dropped_and_asked_again(monkeypatch, ask, tmp_path):
    with serving(monkeypatch) as judging:
        ask("a", "b", parallel=1)
        path = tmp_path / "cache.jsonl"
        path.write_bytes(path.read_bytes()[:-20])
        ask("a", "b", parallel=1)
        ask("a", "b")
        assert judging.asked == ["a", "b", "b"] and path.read_text().count("\n") == 2
        path.write_text("{}\n" + path.read_text())
        with pytest.raises(UserError, match=r"cache.jsonl, line 1: no reply"):
            ask("a")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OPENAI_API_KEY", "", ["OPENAI_API_KEY has no value", "OPENAI_API_KEY=none"]),
        ("OPENAI_BASE_URL", "localhost:8000", ["OPENAI_BASE_URL", "http://"]),
        ("OPENAI_MODEL", "", ["--model", "OPENAI_MODEL"]),
    ],
)
def test_a_variable_that_is_missing_or_wrong_is_named(monkeypatch, name, value, words):
    for key, right in {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://a/v1", "OPENAI_MODEL": "m"}.items():
        monkeypatch.setenv(key, right)
    assert Endpoint.from_environment().model == "m" and KEY not in repr(Endpoint.from_environment())
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught:
        Endpoint.from_environment()
    assert all(word in str(caught.value) for word in words)

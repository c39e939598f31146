"""What a request may say: whatever is wrong is refused with the field, its value and what it may be."""

import json

import pytest

from experiments.serving.protocol import Chat, Completion, Refusal, parse

WELL = {"model": "anna", "prompt": "Once"}
CHAT = {"model": "anna", "messages": [{"role": "user", "content": "Hi"}]}


def asked(kind=Completion, base=WELL, **fields):
    return parse(kind, json.dumps(base | fields).encode())


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"model": 7}, "model", "got 7"),
        ({"prompt": ["a", "b"]}, "prompt", "got ['a', 'b']"),
        ({"prompt": None}, "prompt", "required"),
        ({"max_tokens": 0}, "max_tokens", "greater than 0, got 0"),
        ({"max_tokens": "16"}, "max_tokens", "valid integer, got '16'"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens", "valid integer, got 1.5"),
        ({"temperature": 2.1}, "temperature", "less than or equal to 2, got 2.1"),
        ({"temperature": float("nan")}, "temperature", "got nan"),
        ({"top_p": 0}, "top_p", "greater than 0, got 0"),
        ({"seed": 2**63}, "seed", f"got {2**63}"),
        ({"stop": ["a"] * 5}, "stop", "at most 4 items"),
        ({"stop": [""]}, "stop.0", "at least 1 character"),
        ({"stream": "yes"}, "stream", "valid boolean, got 'yes'"),
        ({"n": 2}, "n", "n=2 is not offered"),
        ({"logprobs": 0}, "logprobs", "logprobs=0 is not offered"),
        ({"logprobs": True}, "logprobs", "logprobs=True is not offered"),
        ({"tools": [{}]}, "tools", "leave it out"),
        ({"response_format": {"type": "json_object"}}, "response_format", "json_object"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields, param, said):
    with pytest.raises(Refusal) as refused:
        asked(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert said in str(refused.value) and param.partition(".")[0] in str(refused.value)
    assert refused.value.body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "at least 1 item"),
        (["Hi"], "messages.0"),
        ([{"role": "user"}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "want a text"),
    ],
)
def test_a_message_that_is_wrong_is_named(messages, said):
    with pytest.raises(Refusal, match=said):
        asked(Chat, CHAT, messages=messages)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"model": "\\ud800"}', b"\xff", b"[]", b"1"])
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(Refusal) as refused:
        parse(Completion, body)
    assert refused.value.status == 400 and "the body is" in str(refused.value)


def test_what_asks_for_nothing_and_what_is_unknown_is_ignored():
    nothing = {"n": 1, "logprobs": False, "presence_penalty": 0.0, "tools": [], "response_format": {"type": "text"}}
    assert asked(**nothing, user="me", top_k=3, temperature=None, stop=None) == asked()


def test_a_message_may_come_in_parts_and_stop_alone():
    parts = [{"type": "text", "text": "He"}, {"type": "text", "text": "y"}]
    assert asked(Chat, CHAT, messages=[{"role": "user", "content": parts}]).messages[0].content == "Hey"
    assert asked(stop="end").stop == ["end"]
    assert asked(max_completion_tokens=3, max_tokens=4).limit == 3

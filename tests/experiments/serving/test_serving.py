"""A server of adapters: each answer is that of the model with its adapter merged, whoever else asks; who asks for what
cannot be had is told so, and no other is touched."""

import http.client
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import httpx
import openai
import pytest
import torch

import fourierft
from experiments.serving.engine import Engine, Job
from experiments.serving.protocol import Refusal
from scripts import serve
from tests import serving
from tests.serving import LLAMA, NAMES, plain, write_adapters

PROMPTS = ["Q", "Once upon a time there was a very long beginning of a story, which goes on and on.", "The red fox"]
TOKENS = 24


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    return write_adapters(tmp_path_factory.mktemp("served") / "adapters")


@pytest.fixture(scope="module")
def server(adapters):
    """A server of four adapters, of which its bank holds three, and of one that is damaged after it was added."""
    shutil.copytree(adapters / "anna", adapters / "broken")
    chosen = ["--model", str(LLAMA), "--adapters", str(adapters), "--capacity", "3", "--dtype", "fp32"]
    server = serve.loaded(serve.main.parse_args([*chosen, "--device", "cpu"]))
    serving.damage(adapters / "broken")
    return server


@pytest.fixture(scope="module")
def url(server):
    with serving.running(server) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    with serving.client(url) as client:
        yield client


@pytest.fixture(scope="module")
def alone(adapters, server):
    """alone(name, prompt, tokens): what the model with that adapter merged writes, and its number of tokens."""
    models = {name: fourierft.merge(fourierft.load(plain(), adapters / name)) for name in NAMES} | {"llama": plain()}
    tokenizer = server.tokenizer

    def write(name, prompt, tokens=TOKENS):
        given = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            ids = models[name].generate(
                **given, max_new_tokens=tokens, do_sample=False, use_cache=True, pad_token_id=0
            )[0]
        length = given["input_ids"].shape[1]
        text, before = (tokenizer.decode(each, skip_special_tokens=True) for each in (ids, ids[:length]))
        return text[len(before) :], len(ids) - length

    return write


@pytest.fixture
def slow(server, monkeypatch):
    """Steps that take 20 ms more, and the number of rows of each."""
    step, rows = server.engine._step, []

    def slowly():
        time.sleep(0.02)
        step()
        rows.append(len(server.engine._rows))

    monkeypatch.setattr(server.engine, "_step", slowly)
    return rows


@pytest.fixture
def endless(server, monkeypatch):
    """No token ends an answer."""
    monkeypatch.setattr(server.engine, "ends", set())


def idle(url, within=20.0):
    """Waits until nothing is written or waits."""
    end = time.monotonic() + within
    while (load := httpx.get(f"{url}/health", verify=False).json()) != {"status": "ok", "running": 0, "waiting": 0}:
        assert time.monotonic() < end, load
        time.sleep(0.01)


def complete(client, name, prompt, tokens=TOKENS, **settings):
    return client.completions.create(model=name, prompt=prompt, max_tokens=tokens, **({"temperature": 0} | settings))


def chat(client, text="Hi", name="ben", **settings):
    messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
    settings = {"temperature": 0, "max_tokens": TOKENS} | settings
    return client.chat.completions.create(model=name, messages=messages, **settings)


def test_mixed_requests_in_parallel_are_written_together_each_as_by_its_merged_model(client, alone, slow):
    names = ["llama", *NAMES]
    asked = [(name, prompt) for prompt in PROMPTS for name in names]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda each: complete(client, *each), asked))
    for (name, prompt), answer in zip(asked, answers, strict=True):
        text, tokens = alone(name, prompt)
        assert (answer.model, answer.choices[0].text, answer.usage.completion_tokens) == (name, text, tokens)
    assert len({answer.choices[0].text for answer in answers[:5]}) == 5
    assert max(slow) > 4


def test_rows_join_and_leave_between_steps(server, alone):
    """By hand: one joins behind a shorter and before a longer one, at other settings; each is as if alone."""
    engine, told = Engine(server.engine.bank, server.tokenizer, server.engine.ends, batch=3), {}

    def ask(name, prompt, tokens, **settings):
        texts = told.setdefault((name, prompt), [])
        ids = server.tokenizer(prompt)["input_ids"]
        adapter = None if name == "llama" else name
        engine.submit(Job(adapter, ids, tokens, lambda part: texts.append(part.text), **settings))

    def steps(count):
        for _ in range(count):
            engine._step()

    ask("anna", PROMPTS[0], 20)
    steps(2)
    ask("ben", PROMPTS[1], 9)
    ask("anna", "other", 5, temperature=1.0)
    steps(1)
    assert len(engine._rows) == 3
    length = engine._past.mask.shape[1]
    ask("llama", PROMPTS[2], 12)
    steps(1)
    assert engine.load == {"running": 3, "waiting": 1}
    steps(8)
    assert engine._past.mask.shape[1] < length  # the longest has left, and its padding with it
    steps(8)
    assert engine.load == {"running": 0, "waiting": 0} and engine._past is None
    for name, prompt, tokens in (("anna", PROMPTS[0], 20), ("ben", PROMPTS[1], 9), ("llama", PROMPTS[2], 12)):
        assert "".join(told[name, prompt]) == alone(name, prompt, tokens)[0]


@pytest.mark.parametrize("stop", [None, ["o", "zzz"]])
def test_a_stream_has_the_text_and_the_counts_of_the_whole_answer(client, stop):
    counted = {"stream": True, "stream_options": {"include_usage": True}}
    whole, parts = complete(client, "dora", "Q", stop=stop), list(complete(client, "dora", "Q", stop=stop, **counted))
    assert len(parts) > 3
    assert "".join(part.choices[0].text for part in parts[:-1]) == whole.choices[0].text
    assert [part.choices[0].finish_reason for part in parts[:-1]] == [None] * (len(parts) - 2) + [
        whole.choices[0].finish_reason
    ]
    assert parts[-1].usage == whole.usage and not parts[-1].choices
    assert {part.id for part in parts} == {parts[0].id} and parts[0].id != whole.id

    whole, parts = chat(client, stop=stop), list(chat(client, stop=stop, stream=True))
    assert "".join(part.choices[0].delta.content for part in parts) == whole.choices[0].message.content
    assert [part.choices[0].delta.role for part in parts] == ["assistant"] + [None] * (len(parts) - 1)


def test_an_answer_ends_before_the_first_stop_however_many_tokens_it_has(client, alone):
    text, _ = alone("carla", "Q")
    stop = text[7:13]
    assert text.index(stop) == 7
    for settings in ({}, {"stream": True}):
        got = complete(client, "carla", "Q", stop=["never", stop], **settings)
        parts = list(got) if settings else [got]
        assert "".join(part.choices[0].text for part in parts) == text[:7]
        assert parts[-1].choices[0].finish_reason == "stop"
    assert complete(client, "carla", "Q", 5).choices[0].finish_reason == "length"


def test_the_end_of_text_ends_an_answer(server, client, alone, monkeypatch):
    text, _ = alone("carla", "Q")
    at = server.tokenizer("Q" + text)["input_ids"][6]
    monkeypatch.setattr(server.engine, "ends", {at})
    answer = complete(client, "carla", "Q")
    assert text.startswith(answer.choices[0].text) and len(answer.choices[0].text) < len(text)
    assert answer.choices[0].finish_reason == "stop" and answer.usage.completion_tokens < TOKENS


def test_a_seed_gives_the_same_sample_whoever_else_asks(client):
    def sample(seed, name="anna"):
        return complete(client, name, "The", temperature=1.5, seed=seed).choices[0].text

    first = sample(1)
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(sample, [1, 2, 1, 3])).count(first) == 2
    assert (
        complete(client, "anna", "The", temperature=2, top_p=1e-6).choices[0].text
        == complete(client, "anna", "The").choices[0].text
    )


def test_a_chat_is_worded_as_alpaca_where_the_tokenizer_has_no_template(server, client, alone):
    wording, end = server.wording, server.tokenizer.eos_token
    assert chat(client, "Hi").choices[0].message.content == alone("ben", wording.ask("Hi"))[0]
    turns = [("user", "a"), ("assistant", "b"), ("user", "c")]
    got = chat(client, [{"role": role, "content": text} for role, text in turns], name="anna")
    prompt = wording.ask("a") + "b" + end + wording.go_on("c")
    assert got.choices[0].message.content == alone("anna", prompt)[0]
    assert got.usage.prompt_tokens == len(server.tokenizer(prompt)["input_ids"])
    for roles in (["system", "user"], ["user", "assistant"], ["assistant"], ["user", "user", "user"]):
        with pytest.raises(openai.BadRequestError, match="user and assistant in turn"):
            chat(client, [{"role": role, "content": "x"} for role in roles])


def test_a_chat_is_worded_by_the_template_of_the_tokenizer(server, client, alone, monkeypatch):
    template = "{% for m in messages %}{{ m.role[:1] }}:{{ m.content }};{% endfor %}{{ 'a:' if add_generation_prompt }}"
    monkeypatch.setattr(server.tokenizer, "chat_template", "{{ bos_token }}" + template)
    got = chat(client, [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}], name="dora")
    assert got.choices[0].message.content == alone("dora", "s:x;u:y;a:")[0]
    assert got.usage.prompt_tokens == len(server.tokenizer("s:x;u:y;a:")["input_ids"])
    monkeypatch.setattr(server.tokenizer, "chat_template", "{{ raise_exception('no such role') }}")
    with pytest.raises(openai.BadRequestError, match="no such role"):
        chat(client, name="dora")


def test_a_chat_goes_on_to_the_end_of_the_positions_and_a_completion_for_16_tokens(server, client, endless):
    full = chat(client, max_tokens=None, temperature=1, name="anna").usage
    assert full.total_tokens == server.positions
    assert complete(client, "anna", "Q", None).usage.completion_tokens == 16


def test_an_unknown_adapter_is_404_with_the_nearest_names(client):
    with pytest.raises(openai.NotFoundError, match="'ana' is none of the models here, the nearest are anna") as error:
        complete(client, "ana", "Q")
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_all_names_are_listed_and_nothing_else_is_reached_by_a_name(server, adapters, client, url):
    assert [model.id for model in client.models.list()] == ["llama", *NAMES[:1], "ben", "broken", "carla", "dora"]
    assert client.models.retrieve("anna").id == "anna"
    outside = shutil.copytree(adapters / "anna", adapters.parent / "outside")
    reached = ["../outside", str(outside), "%2e%2e/outside", "./anna", "anna/", "anna/../ben", "anna\0", "", "a" * 9999]
    for name in reached:
        with pytest.raises(openai.NotFoundError):
            complete(client, name, "Q")
    place = urlsplit(url)
    for name in [quote(name, safe="") for name in reached[:-2]] + ["../outside", "anna/../ben"]:
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
        connection.request("GET", f"/v1/models/{name}")
        assert connection.getresponse().status == 404, name
        connection.close()
    assert set(server.engine.bank.held) <= set(NAMES)


@pytest.mark.parametrize("tokens", [None, 1, 200])
def test_a_request_that_is_too_long_is_refused_with_both_numbers(server, client, tokens):
    prompt = "a b " * (server.positions if tokens != 200 else 50)
    count = len(server.tokenizer(prompt)["input_ids"])
    with pytest.raises(openai.BadRequestError, match=f"of {count} tokens.* has {server.positions} for") as error:
        complete(client, "anna", prompt, tokens)
    assert (error.value.code, error.value.param) == ("context_length_exceeded", "prompt")


def test_what_is_not_the_protocol_is_refused_in_its_form(url):
    with httpx.Client(base_url=url, verify=False) as raw:
        for response, status in (
            (raw.post("/v1/completions", content=b"{"), 400),
            (raw.post("/v1/completions", content=b" " * (1 << 20) + b"{}"), 413),
            (raw.get("/v1/completions"), 405),
            (raw.get("/nowhere"), 404),
        ):
            error = response.json()["error"]
            assert response.status_code == status and error["type"] == "invalid_request_error" and error["message"]


def test_a_damaged_adapter_is_told_to_who_asked_for_it_alone(client, alone, slow):
    def answer(name):
        try:
            return complete(client, name, PROMPTS[1]).choices[0].text
        except openai.InternalServerError as error:
            return error.code, str(error)

    with ThreadPoolExecutor() as pool:
        first, broken, last = pool.map(answer, ["anna", "broken", "llama"])
    assert broken[0] == "adapter_unreadable" and "broken" in broken[1] and "damaged" in broken[1]
    assert (first, last) == (alone("anna", PROMPTS[1])[0], alone("llama", PROMPTS[1])[0])


def test_numbers_that_are_not_finite_end_one_row_alone(server, client, alone, monkeypatch):
    model, forward = server.engine.bank.model, server.engine.bank.model.forward

    def spoilt(*args, input_ids, **kwargs):
        output = forward(*args, input_ids=input_ids, **kwargs)
        lost = (input_ids == 7).any(1)
        output.logits[lost] = float("nan")
        return output

    engine, told = Engine(server.engine.bank, server.tokenizer, server.engine.ends), []
    monkeypatch.setattr(model, "forward", spoilt)
    ids = server.tokenizer("The red fox")["input_ids"]
    assert 7 not in ids
    engine.submit(Job("anna", [1, 7, 9], 5, lambda part: told.append(("lost", part))))
    engine.submit(Job("anna", ids, 5, lambda part: told.append(("kept", part))))
    while any(engine.load.values()):
        engine._step()
    [refusal] = [part for name, part in told if name == "lost"]
    assert refusal.status == 500 and "anna" in str(refusal) and "not finite" in str(refusal)
    assert "".join(part.text for name, part in told if name == "kept") == alone("anna", "The red fox", 5)[0]


def test_a_step_that_fails_is_told_to_those_in_it_and_the_server_goes_on(server, client, alone, monkeypatch, caplog):
    def fail(*_):
        raise torch.OutOfMemoryError("no room")

    for place, name in ((server.engine, "_write"), (server.engine.bank, "rows")):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, fail)
            with pytest.raises(openai.InternalServerError, match="its log says why"):
                complete(client, "anna", "Q")
    assert "no room" in caplog.text
    assert complete(client, "anna", "Q").choices[0].text == alone("anna", "Q")[0]


def test_who_goes_away_frees_the_place(client, url, slow, endless):
    stream = chat(client, max_tokens=None, temperature=1, name="anna", stream=True)
    next(iter(stream))
    stream.close()
    idle(url)
    with pytest.raises(openai.APITimeoutError):
        chat(client.with_options(timeout=0.3), max_tokens=None, temperature=1, name="anna")
    idle(url)
    assert len(slow) < 60  # of the 170 or so that one of them alone would take


def test_a_full_queue_is_429_and_says_when_to_ask_again(server, client, url, alone, slow, endless, monkeypatch):
    monkeypatch.setattr(server.engine, "batch", 1)
    monkeypatch.setattr(server.engine, "queue", 1)
    first = chat(client, max_tokens=None, temperature=1, name="anna", stream=True)
    next(iter(first))
    with ThreadPoolExecutor() as pool:
        second = pool.submit(complete, client, "ben", "Q", 3)
        while not httpx.get(f"{url}/health", verify=False).json()["waiting"]:
            time.sleep(0.01)
        with pytest.raises(openai.RateLimitError, match="1 requests wait already") as error:
            complete(client, "carla", "Q")
        assert error.value.response.headers["Retry-After"] == "1" and error.value.code == "queue_full"
        first.close()
        assert second.result().choices[0].text == alone("ben", "Q", 3)[0]


def test_who_waits_and_goes_away_leaves_the_queue(server):
    engine = Engine(server.engine.bank, server.tokenizer, set(), queue=1)
    job = Job(None, [1], 1, lambda part: None)
    engine.submit(job)
    engine.leave(job)
    engine.submit(Job(None, [1], 1, lambda part: None))
    assert engine.load["waiting"] == 1


def test_an_engine_that_stops_refuses_what_waits_and_what_comes(server):
    engine, told = Engine(server.engine.bank, server.tokenizer, set()), []
    engine.submit(Job("anna", [1], 9, told.append))
    engine.stop()
    thread = threading.Thread(target=engine.run)
    thread.start()
    thread.join(10)
    assert [refusal.status for refusal in told] == [503]
    with pytest.raises(Refusal, match="stopping"):
        engine.submit(Job("anna", [1], 9, told.append))

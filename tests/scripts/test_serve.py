"""The command that serves: what it refuses before it listens, and how it ends."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import time
from types import SimpleNamespace

import httpx
import pytest

from experiments.serving.engine import Engine
from scripts import serve
from tests import forked
from tests.serving import LLAMA, plain, write_adapters

HERE = ("--device", "cpu", "--port", "0")


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    return write_adapters(tmp_path_factory.mktemp("served"), ("anna", "ben"))


def options(*words):
    return serve.main.parse_args([*HERE, *map(str, words)])


def test_it_answers_until_a_signal_and_tells_whose_answers_are_not_done(adapters, monkeypatch):
    step = Engine._step

    def slowly(engine):
        time.sleep(0.1)
        step(engine)

    monkeypatch.setattr(Engine, "_step", slowly)
    server = forked.python("-m", "scripts.serve", "--model", str(LLAMA), "--adapters", str(adapters), *HERE)
    while "/v1\n" not in server.said()[0]:
        assert server.runs(), server.said()
        time.sleep(0.05)
    assert server.said()[0].splitlines()[-1].startswith("llama and 2 adapters: http://127.0.0.1:")
    url = server.said()[0].split()[-1]
    asked = {"model": "anna", "prompt": "Q", "max_tokens": 200, "stream": True}
    with httpx.stream("POST", f"{url}/completions", json=asked, timeout=30) as answer:
        events = [line.removeprefix("data: ") for line in _stopping_at_the_first(answer.iter_lines(), server.pid)]
    assert "choices" in json.loads(events[0])
    assert json.loads(events[-1])["error"]["code"] == "stopping"
    assert server.wait(20) == 130
    assert server.said()[1].endswith("serve: interrupted; the same command goes on from here\n")


def _stopping_at_the_first(lines, pid):
    for number, line in enumerate(filter(None, lines)):
        if not number:
            os.kill(pid, signal.SIGTERM)
        yield line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", "0"], "--batch 0: give 1 or more"),
        (["--queue", "-1"], "--queue -1: give 1 or more"),
        (["--host", "999.0.0.1"], "--host 999.0.0.1 --port 0:"),
        (["--port", "65536"], "--port 65536:"),
        (["--model", "no/such"], "--model no/such: no such folder"),
        (["--adapters", "no/such"], "no/such"),
        (["--capacity", "0"], "capacity"),
    ],
)
def test_what_cannot_be_served_is_told_with_exit_code_2(words, said, adapters, capsys):
    assert serve.main(["--model", str(LLAMA), "--adapters", str(adapters), *HERE, *words]) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(monkeypatch, capsys):
    monkeypatch.setattr(serve, "loaded", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert serve.main(["--model", "m", "--adapters", "a", "--port", port]) == 2
    assert f"--port {port}: " in capsys.readouterr().err


def test_an_adapter_by_the_models_own_name_is_refused(tmp_path, capsys):
    folder = write_adapters(tmp_path, ("llama",))
    assert serve.main(["--model", str(LLAMA), "--adapters", str(folder), *HERE]) == 2
    assert "llama is the model's own name" in capsys.readouterr().err


def test_a_model_whose_past_cannot_be_padded_is_refused(adapters, monkeypatch, capsys):
    monkeypatch.setattr("transformers.LlamaForCausalLM._is_stateful", True)
    assert serve.main(["--model", str(LLAMA), "--adapters", str(adapters), *HERE]) == 2
    assert "LlamaForCausalLM keeps more than keys and values" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_another_host_than_loopback_is_served_with_a_warning(host, warned, monkeypatch, capsys):
    bank = SimpleNamespace(names=("a",))
    server = SimpleNamespace(name="m", engine=SimpleNamespace(bank=bank), serve=lambda listening: None)
    monkeypatch.setattr(serve, "loaded", lambda _: server)
    with pytest.raises(KeyboardInterrupt):
        serve.main(["--model", "m", "--adapters", "a", "--host", host, "--port", "0"])
    assert ("no authentication" in capsys.readouterr().err) == warned


def test_the_url_of_a_host_of_ipv6_has_brackets(monkeypatch, capsys):
    server = SimpleNamespace(name="m", engine=SimpleNamespace(bank=SimpleNamespace(names=())), serve=lambda _: None)
    monkeypatch.setattr(serve, "loaded", lambda _: server)
    monkeypatch.setattr(serve, "bound", lambda host, port: socket.create_server(("127.0.0.1", port)))
    with pytest.raises(KeyboardInterrupt):
        serve.main(["--model", "m", "--adapters", "a", "--host", "::1", "--port", "0"])
    assert "http://[::1]:" in capsys.readouterr().out


def test_four_bits_without_bitsandbytes_are_told_with_a_remedy_that_serve_has(adapters, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name))
    assert serve.main(["--model", str(LLAMA), "--adapters", str(adapters), *HERE, "--dtype", "4bit"]) == 2
    said = capsys.readouterr().err
    assert "--dtype 4bit" in said and "choose bf16" in said


def test_every_token_that_ends_an_answer_is_taken_from_the_models_files(adapters, tmp_path):
    folder = shutil.copytree(LLAMA, tmp_path / "ends")
    said = json.loads((folder / "generation_config.json").read_text()) | {"eos_token_id": [2, 5, 6]}
    (folder / "generation_config.json").write_text(json.dumps(said))
    server = serve.loaded(options("--model", folder, "--adapters", adapters))
    assert server.engine.ends == {2, 5, 6}
    assert (server.name, server.positions) == ("ends", plain().config.max_position_embeddings)


def test_a_model_of_the_hub_comes_with_its_chat_template(stand_in):
    files = {path.name: path.read_bytes() for path in LLAMA.iterdir()} | {"chat_template.jinja": b"{{ messages }}"}
    stand_in.repositories["models", "some/llama"] = {"main": files}
    assert (serve.folder_of("some/llama") / "chat_template.jinja").read_bytes() == b"{{ messages }}"


def test_a_packed_file_is_served(adapters, tmp_path):
    bank = serve.loaded(options("--model", LLAMA, "--adapters", adapters)).engine.bank
    bank.pack(tmp_path / "all.safetensors")
    packed = serve.loaded(options("--model", LLAMA, "--adapters", tmp_path / "all.safetensors"))
    assert packed.engine.bank.names == ("anna", "ben")

"""A small bench of our own in FastChat's files, runs that have answered it, and an endpoint that judges as told."""

import functools
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai

from experiments.judging.answers import Answer
from experiments.lines import write_lines
from tests.handmade import leave, run

KEY = "sk-not-to-be-seen-9f2"
MT = [(81, "writing"), (101, "reasoning"), (111, "math"), (131, "extraction")]
VICUNA = [(1, "generic"), (2, "common-sense"), (68, "math")]
PROMPTS = {  # in another order than FastChat's, and with fields of each kind
    "single-v1": ("You grade.", "Q: {question}\nA: {answer}"),
    "single-math-v1": ("You grade sums.", "Q: {question}\nRight: {ref_answer_1}\nA: {answer}"),
    "single-v1-multi-turn": ("Grade the second.", "{question_1}|{answer_1}|{question_2}|{answer_2}"),
    "single-math-v1-multi-turn": (
        "Grade the second sum.",
        "{question_1}|{ref_answer_1}|{question_2}|{ref_answer_2}||{answer_1}|{answer_2}",
    ),
}
NEEDY = ("reasoning", "math")


def write_benches(root):
    """Both benches under `root`: four questions of two turns, and three of one."""
    folder = root / "datasets" / "llm_judge"
    for bench, rows, turns in (("mt_bench", MT, 2), ("vicuna_bench", VICUNA, 1)):
        questions = [
            {"question_id": i, "category": kind, "turns": [f"question {i}.{turn}" for turn in range(1, turns + 1)]}
            for i, kind in rows
        ]
        _write(folder / bench / "question.jsonl", questions)
        right = [
            Answer.of(i, [f"right {i}.{turn}" for turn in range(1, turns + 1)], "gpt-4")
            for i, kind in rows
            if kind in NEEDY
        ]
        write_lines(folder / bench / "reference_answer" / "gpt-4.jsonl", right)
    prompts = [
        {"name": name, "type": "single", "system_prompt": system, "prompt_template": template}
        | {"description": "", "category": "", "output_format": "[[rating]]"}
        for name, (system, template) in PROMPTS.items()
    ]
    _write(folder / "judge_prompts.jsonl", prompts)
    return root


def answers(bench, model="m", said="answer"):
    """An answer to every turn of every question of a bench."""
    rows, turns = (MT, 2) if bench == "mt_bench" else (VICUNA, 1)
    return [Answer.of(i, [f"{said} {i}.{turn}" for turn in range(1, turns + 1)], model) for i, _ in rows]


def finished(folder, said=None, best_is_last=True, **changes):
    """A record of a run on disk, and its answers by selection: what each says ("last", unless `said` tells)."""
    curve = [{"accuracy": score} for score in (0.1, 0.3, 0.4 if best_is_last else 0.2)]
    made = run(exp="instruct", model="llama_mini", test=(0.4, 0.4), scale="mini", epochs=curve, **changes)
    for selection, text in (said or {"last": "last"}).items():
        for bench in ("mt_bench", "vicuna_bench"):
            write_lines(
                folder / "runs" / made.name / selection / f"model_answer/{bench}.jsonl",
                answers(bench, said=text),
            )
    return leave(folder / "records", made)[0]


def _write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def completion(content, model="judge-2024", tokens=(100, 20)):
    """The body of a chat completion."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}


class Judging:
    """What the endpoint does and what it saw. `answer(number, body)`: the number of the request, from 0, and its body;
    gives a text to be judged by, or (status, headers, body), or None: hangs up."""

    def __init__(self, answer):
        self.answer, self.bodies, self.times, self.keys = answer, [], [], []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def asked(self):
        """The user's messages, in the order that they came."""
        return [body["messages"][-1]["content"] for body in self.bodies]


@contextmanager
def serving(monkeypatch, answer=lambda number, body: "Fine. [[7]]"):
    """A `Judging` that OPENAI_BASE_URL names; retries come at once."""
    judging = Judging(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            with judging.lock:
                judging.at_once += 1
                judging.most_at_once = max(judging.most_at_once, judging.at_once)
                judging.times.append(time.monotonic())
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judging.bodies.append(body)
                judging.keys.append(self.headers["Authorization"])
                number = len(judging.bodies) - 1
            given = judging.answer(number, body)
            with judging.lock:
                judging.at_once -= 1
            if given is None:
                return
            status, headers, body = given if isinstance(given, tuple) else (200, {}, completion(given))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": len(content), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Reading the machine's certificates would take longer than all else, and there is nothing to verify.
    monkeypatch.setattr("openai.DefaultHttpxClient", functools.partial(openai.DefaultHttpxClient, verify=False))
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)
    try:
        yield judging
    finally:
        server.shutdown()
        server.server_close()

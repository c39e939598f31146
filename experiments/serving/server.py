"""The HTTP server: who asks for what, and the answer, in one body or as it is written."""

import asyncio
import difflib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from experiments.data.instructions import Wording
from experiments.serving.engine import Engine, Job, Piece
from experiments.serving.protocol import Answer, Body, Chat, Completion, Refusal, Request, parse

LARGEST = 1 << 20  # bytes of a body
BY_DEFAULT = 16  # tokens of a completion that does not say how many, as OpenAI's; a chat goes on to its end
GRACE = 5.0  # seconds that a client has to take what it is told when the server stops


@dataclass(frozen=True)
class Server:
    """Answers requests by an engine.

    name: of the model without an adapter. positions: the most tokens that it has for prompt and answer. wording: of
    chats where the tokenizer has no chat template.
    """

    name: str
    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    positions: int
    wording: Wording
    started: int = field(default_factory=lambda: int(time.time()))

    def application(self) -> web.Application:
        """Starts the engine's thread, and stops it when the application ends."""
        application = web.Application(client_max_size=LARGEST, middlewares=[_refusing])
        application.add_routes(
            [
                web.get("/health", self._health),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{name:.*}", self._model),
                web.post("/v1/completions", self._completion),
                web.post("/v1/chat/completions", self._chat),
            ]
        )
        thread = threading.Thread(target=self.engine.run, name="engine", daemon=True)

        async def start(_: web.Application) -> None:
            thread.start()

        async def stop(_: web.Application) -> None:
            self.engine.stop()
            await asyncio.to_thread(thread.join)

        application.on_startup.append(start)
        application.on_shutdown.append(stop)
        return application

    def serve(self, listening: socket.socket, **options: Any) -> None:
        """Answers until SIGINT or SIGTERM. What runs then is refused, with 503. options: of aiohttp's run_app."""
        web.run_app(
            self.application(),
            sock=listening,
            handler_cancellation=True,
            shutdown_timeout=GRACE,
            access_log=None,
            print=None,
            **options,
        )

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", **self.engine.load})

    async def _models(self, _: web.Request) -> web.Response:
        listed = [self._described(name) for name in (self.name, *self.engine.bank.names)]
        return web.json_response({"object": "list", "data": listed})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._adapter(name)
        return web.json_response(self._described(name))

    def _described(self, name: str) -> Body:
        parent = None if name == self.name else self.name
        return {"id": name, "object": "model", "created": self.started, "owned_by": "fourierft", "parent": parent}

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        asked = parse(Completion, await request.read())
        return await self._answered(request, asked, "prompt", self.tokenizer(asked.prompt)["input_ids"])

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = parse(Chat, await request.read())
        return await self._answered(request, asked, "messages", self._conversation(asked))

    def _conversation(self, asked: Chat) -> list[int]:
        """The tokens of a chat up to the answer. Raises Refusal for roles that have no place there."""
        if self.tokenizer.chat_template:
            messages = [message.model_dump() for message in asked.messages]
            try:
                text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            except TemplateError as error:
                raise Refusal(400, f"the model's chat template refuses: {error}", "invalid_value", "messages") from None
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]
        first, *rest = asked.messages
        roles = [message.role for message in asked.messages]
        if len(roles) % 2 == 0 or roles != ["user", *["assistant", "user"] * (len(roles) // 2)]:
            raise Refusal(
                400,
                f"messages have the roles {', '.join(roles)}: this model has no chat template, and Alpaca's wording, "
                "which stands in, has places for user and assistant in turn, the user first and last",
                "invalid_value",
                "messages",
            )
        text = self.wording.ask(first.content)
        for answer, question in zip(rest[::2], rest[1::2], strict=True):
            text += answer.content + (self.tokenizer.eos_token or "") + self.wording.go_on(question.content)
        return self.tokenizer(text)["input_ids"]

    async def _answered(
        self, request: web.Request, asked: Request, param: str, prompt: list[int]
    ) -> web.StreamResponse:
        """The response. Raises Refusal, as long as nothing was sent. param: the field that the prompt stands in."""
        adapter, room = self._adapter(asked.model), self.positions - len(prompt)
        if not prompt:
            raise Refusal(400, f"{param}: there is no token in it; write something", "invalid_value", param)
        if room < (asked.limit or 1):
            also = f" and max_tokens={asked.limit}" if asked.limit else ""
            message = f"{param} of {len(prompt)} tokens{also}: {self.name} has {self.positions} for prompt and answer"
            raise Refusal(400, f"{message}; ask for less", "context_length_exceeded", param)
        limit = asked.limit or (room if isinstance(asked, Chat) else min(BY_DEFAULT, room))
        answer, response = Answer(asked, len(prompt)), None
        async with aclosing(self._pieces(asked, adapter, prompt, limit)) as pieces:
            if not asked.stream:
                parts = [piece async for piece in pieces]
                text, last = "".join(part.text for part in parts), parts[-1]
                return web.json_response(answer.whole(text, last.tokens, last.finish))
            try:
                async for piece in pieces:
                    first = response is None
                    if response is None:
                        response = await _event_stream(request)
                    await _send(response, answer.piece(piece.text, piece.finish, first))
                if asked.stream_options.include_usage:
                    await _send(response, answer.count(piece.tokens))
                await response.write(b"data: [DONE]\n\n")
            except Refusal as refusal:
                if response is None:
                    raise
                await _send(response, refusal.body)
        return response

    def _adapter(self, name: str) -> str | None:
        """The adapter that a model's name stands for. No name ever becomes a path: it is one of the bank's or none.

        Raises Refusal: 404, with the nearest names.
        """
        if name == self.name:
            return None
        names = self.engine.bank.names
        if name not in names:
            near = ", ".join(difflib.get_close_matches(name, [self.name, *names], cutoff=0.5))
            told = f", the nearest are {near}" if near else ""
            message = f"{name!r:.100} is none of the models here{told}; see /v1/models"
            raise Refusal(404, message, "model_not_found", "model")
        return name

    async def _pieces(self, asked: Request, adapter: str | None, prompt: list[int], limit: int) -> AsyncIterator[Piece]:
        """What the engine's thread tells. Whoever stops listening, as where the client goes, frees the row."""
        loop, told = asyncio.get_running_loop(), asyncio.Queue()
        job = Job(
            adapter,
            prompt,
            limit,
            lambda part: loop.call_soon_threadsafe(told.put_nowait, part),
            asked.temperature,
            asked.top_p,
            asked.stop,
            asked.seed,
        )
        self.engine.submit(job)
        try:
            while True:
                part = await told.get()
                if isinstance(part, Refusal):
                    raise part
                yield part
                if part.finish:
                    return
        finally:
            self.engine.leave(job)


@web.middleware
async def _refusing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in the form of OpenAI's protocol."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        refusal = Refusal(error.status, f"{request.method} {request.path}: {error.text}")
    except Refusal as error:
        refusal = error
    return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)


async def _event_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    return response


async def _send(response: web.StreamResponse, body: Body) -> None:
    await response.write(f"data: {json.dumps(body)}\n\n".encode())

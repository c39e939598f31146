"""Chat completions from any endpoint of OpenAI's protocol: each requested once, in parallel, within a rate limit.

OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL name the endpoint; the key is never written anywhere. OPENAI_LOG=info
shows every request and every retry.
"""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion
from pydantic import ValidationError

from experiments import progress
from experiments.errors import UserError
from experiments.judging.cache import Cache, Messages, Reply, content_key

RETRIES = 12  # the openai package waits 0.5 s before the first, doubled up to 8 s, or as long as the endpoint says
HIDDEN = "***"
NO_COMPLETION = "sends no chat completion; correct OPENAI_BASE_URL, which usually ends in /v1"


@dataclass(frozen=True)
class Endpoint:
    """An endpoint and its limits.

    revision: the user's name for the version of the model, if the endpoint reports none. rate: requests per minute,
    retries included, None for no limit. parallel: concurrent requests. timeout: seconds to wait for a reply.
    """

    model: str
    key: str = field(repr=False)
    url: str | None = None
    revision: str | None = None
    rate: float | None = None
    parallel: int = 4
    timeout: float = 300.0

    @classmethod
    def from_environment(cls, model: str | None = None, **settings) -> "Endpoint":
        """From the variables OPENAI_*. Raises UserError: the missing or wrong one, and the remedy."""
        model = model or os.environ.get("OPENAI_MODEL")
        if not model:
            raise UserError("no judge: give --model NAME, or set OPENAI_MODEL, such as gpt-4")
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not key:
            raise UserError(
                "OPENAI_API_KEY has no value: set it to the endpoint's key; for a local server that needs none, "
                "OPENAI_API_KEY=none with OPENAI_BASE_URL, such as http://localhost:8000/v1"
            )
        url = os.environ.get("OPENAI_BASE_URL") or None
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise UserError("OPENAI_BASE_URL is no URL: it starts with http:// or https:// and usually ends in /v1")
        return cls(model, key, url, **settings)


class Stopped(openai.OpenAIError):
    """A request was not sent because another one failed or the user interrupted."""


class Client:
    """Sends requests to one endpoint, each only once.

    calls: answered requests; cached: replies from the cache; prompt_tokens, completion_tokens: of the calls.
    """

    def __init__(self, endpoint: Endpoint, cache: Cache):
        self.endpoint, self.cache = endpoint, cache
        self.calls = self.cached = self.prompt_tokens = self.completion_tokens = 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._next = 0.0
        self._openai = openai.OpenAI(
            api_key=endpoint.key,
            base_url=endpoint.url,
            timeout=endpoint.timeout,
            max_retries=RETRIES,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [self._wait_for_turn]}),
        )

    def complete(
        self, conversations: Sequence[Messages], temperature: float, max_tokens: int, title: str = ""
    ) -> list[Reply]:
        """A reply to each conversation, in order; each is cached as soon as it arrives.

        Raises UserError if the endpoint refuses or does not answer. After an error or an interruption no new request is
        sent; replies to those already sent are awaited and cached.
        """
        model, revision = self.endpoint.model, self.endpoint.revision
        keys = [content_key(model, messages, temperature, max_tokens, revision) for messages in conversations]
        wanted = {key: messages for key, messages in zip(keys, conversations, strict=True) if not self._said(key)}
        self.cached += len(keys) - len(wanted)
        bar = progress.counter(len(wanted), title, hidden=not wanted)
        with bar, ThreadPoolExecutor(self.endpoint.parallel) as pool:
            asked = [pool.submit(self._ask, key, messages, temperature, max_tokens) for key, messages in wanted.items()]
            try:
                for one in as_completed(asked):
                    if not isinstance(one.exception(), Stopped):
                        one.result()
                        bar.update()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [self.cache.get(key) for key in keys]

    def _said(self, key: str) -> bool:
        """Whether a reply with any text is cached; empty replies are requested again."""
        reply = self.cache.get(key)
        return reply is not None and bool(reply.content.strip())

    def _ask(self, key: str, messages: Messages, temperature: float, max_tokens: int) -> None:
        try:
            reply = self._reply(key, self._request(messages, temperature, max_tokens))
            self.cache.add(reply)
        except BaseException:
            self._stop.set()
            raise
        with self._lock:
            self.calls += 1
            self.prompt_tokens += reply.prompt_tokens
            self.completion_tokens += reply.completion_tokens

    def _request(self, messages: Messages, temperature: float, max_tokens: int) -> ChatCompletion:
        try:
            return self._openai.chat.completions.create(
                model=self.endpoint.model, messages=list(messages), temperature=temperature, max_tokens=max_tokens, n=1
            )
        except Stopped:
            raise
        except (openai.OpenAIError, ValueError) as error:  # ValueError: the body is not JSON
            raise UserError(self._explain(error)) from None  # the cause contains the request, and thus the key

    def _reply(self, key: str, completion: ChatCompletion) -> Reply:
        """The reply of a completion, whose fields the package does not check: some servers omit or misuse them."""
        try:
            choice, usage = completion.choices[0], completion.usage
            return Reply(
                key=key,
                asked=self.endpoint.model,
                model=completion.model or None,
                system_fingerprint=completion.system_fingerprint,
                content=choice.message.content or "",
                finish_reason=choice.finish_reason,
                prompt_tokens=(usage and usage.prompt_tokens) or 0,
                completion_tokens=(usage and usage.completion_tokens) or 0,
                tstamp=time.time(),
            )
        except (AttributeError, TypeError, LookupError, ValidationError):
            raise UserError(f"{self._where}: {NO_COMPLETION}") from None

    def _wait_for_turn(self, _request: object) -> None:
        """Called before every request and retry, to space them evenly."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + (60 / self.endpoint.rate if self.endpoint.rate else 0)
        if self._stop.wait(start - now):
            raise Stopped

    @property
    def _where(self) -> str:
        """The endpoint's URL without its parts that may be secret."""
        url = urlsplit(str(self._openai.base_url))
        return f"{url.scheme}://{url.hostname}{f':{url.port}' if url.port else ''}{url.path}"

    def _explain(self, error: Exception) -> str:
        """What went wrong, and the remedy. The endpoint's own message follows, without the key."""
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                what = "refuses the key in OPENAI_API_KEY; set another"
            case openai.NotFoundError():
                what = f"has no model {self.endpoint.model!r}; give --model or OPENAI_MODEL, or mend OPENAI_BASE_URL"
            case openai.RateLimitError():
                what = (
                    f"too many requests, after up to {RETRIES} retries; try later, with a lower --rate, or add credit"
                )
            case openai.APITimeoutError():
                what = (
                    f"no answer in {self.endpoint.timeout:g} s, after up to {RETRIES} retries; give a longer --timeout"
                )
            case openai.APIConnectionError() | openai.InternalServerError():
                what = f"cannot answer, after up to {RETRIES} retries; is it up at OPENAI_BASE_URL? Try again later"
            case openai.APIStatusError():
                what = f"does not accept a request to {self.endpoint.model!r}"
            case _:
                what = NO_COMPLETION
        said = str(error).replace(self.endpoint.key, HIDDEN)
        return f"{self._where}: {what} ({said[:500]}). What was judged before is kept in {self.cache.path}"

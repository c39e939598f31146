"""What a request may say and what is answered: the part of OpenAI's protocol that is spoken here.

Fields that are not named here are ignored, and null is as good as absent.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError
from pydantic_core import from_json

from experiments.typed import faults

Body = dict[str, Any]
Finish = Literal["stop", "length"]
NOT_OFFERED: Body = {  # with the value that asks for nothing
    **{"n": 1, "best_of": 1, "echo": False, "suffix": "", "logprobs": False, "top_logprobs": 0},
    **{"presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}},
    **{"tools": [], "functions": [], "response_format": {"type": "text"}},
}


class Refusal(Exception):
    """Why a request is not answered. status: of HTTP; code and param: of OpenAI's protocol."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"} if self.status == 429 else {}

    @property
    def body(self) -> Body:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = "rate_limit_error" if self.status == 429 else kind
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class Part(BaseModel):
    """A field, or a group of fields, of a request."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class StreamOptions(Part):
    include_usage: bool = False


def _joined(content: Any) -> Any:
    """The text of a message that comes in parts."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
        raise ValueError('want a text, or parts of {"type": "text", "text": ...}')
    return "".join(texts)


class Message(Part):
    role: str
    content: Annotated[str, BeforeValidator(_joined)]


def _listed(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class Request(Part):
    """What both kinds of request have in common. The numbers are OpenAI's defaults."""

    model: str
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None  # its newer name
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    stop: Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_listed)] = Field([], max_length=4)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    @property
    def limit(self) -> int | None:
        """The most tokens of the answer; None where the request does not say."""
        return self.max_completion_tokens or self.max_tokens


class Completion(Request):
    """A text to go on with."""

    prompt: str


class Chat(Request):
    """A conversation to answer."""

    messages: list[Message] = Field(min_length=1)


Asked = TypeVar("Asked", bound=Request)


def parse(kind: type[Asked], content: bytes) -> Asked:
    """The request in a body. Raises Refusal: 400, with the field, its value and what it may be."""
    try:
        body = from_json(content)
    except ValueError as error:
        raise Refusal(400, f"the body is not JSON ({error}); send one object in UTF-8") from None
    if not isinstance(body, dict):
        raise Refusal(400, f"the body is a {type(body).__name__}; send a JSON object")
    body = {key: value for key, value in body.items() if value is not None}
    for key, nothing in NOT_OFFERED.items():
        value = body.get(key, nothing)
        if value != nothing or (value is False) != (nothing is False):  # logprobs=0 asks for some
            raise Refusal(400, f"{key}={value!r:.100} is not offered here; leave it out", "unsupported_value", key)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        param = ".".join(map(str, error.errors()[0]["loc"]))
        raise Refusal(400, faults(error), code="invalid_value", param=param) from None


@dataclass(frozen=True)
class Answer:
    """The bodies that answer one request. model: as it was asked for."""

    asked: Request
    prompt_tokens: int
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def whole(self, text: str, tokens: int, finish: Finish) -> Body:
        """The one body of an answer that is not streamed. tokens: how many it has."""
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return self._body([self._choice(said, finish)]) | {"usage": self._usage(tokens)}

    def piece(self, text: str, finish: Finish | None, first: bool) -> Body:
        """A part of an answer, as it is written."""
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        return self._body([self._choice({"delta": delta} if self._chat else {"text": text}, finish)], ".chunk")

    def count(self, tokens: int) -> Body:
        """What follows the last part where `stream_options.include_usage` asks for it."""
        return self._body([], ".chunk") | {"usage": self._usage(tokens)}

    @property
    def _chat(self) -> bool:
        return isinstance(self.asked, Chat)

    def _choice(self, said: Body, finish: Finish | None) -> Body:
        return {"index": 0, **said, "logprobs": None, "finish_reason": finish}

    def _body(self, choices: list[Body], ending: str = "") -> Body:
        prefix, kind = ("chatcmpl", f"chat.completion{ending}") if self._chat else ("cmpl", "text_completion")
        known = {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.asked.model}
        return known | {"choices": choices}

    def _usage(self, tokens: int) -> Body:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens,
        }

"""What the fault server can do with a request: objects with one method, `play`.

It writes to an `Exchange` in the words of a `Wire`. Tests use `Reply`, `ModelList` and what `Fault` makes of the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, Protocol

from tests.faults.exchange import Exchange
from tests.faults.problems import Problem
from tests.faults.wire import Wire


class Behaviour(Protocol):
    def play(self, exchange: Exchange, wire: Wire) -> None: ...


@dataclass(frozen=True)
class Reply:
    """A good answer, or one that lacks something.

    text: what is said: cut into words, or a sequence of pieces that are sent as they are.
    delay, first_delay: seconds before each frame, and before the headers.
    finish: `stop`, `length`, `safety` or None to leave the finish reason out. done: whether `[DONE]` is sent.
    usage: prompt and completion tokens (reasoning included), or None. usage_in: where GROQ reports them.
    reasoning: thinking aloud, sent before the text. null_first: the first delta says `content: null`.
    comments: a keep-alive before each frame. split: cut the body into packets of so many bytes.
    as_json: one JSON document, though a stream was asked for.
    """

    text: str | Sequence[str] = "Hello there."
    delay: float = 0.0
    first_delay: float = 0.0
    finish: Literal["stop", "length", "safety"] | None = "stop"
    done: bool = True
    usage: tuple[int, int] | None = (11, 7)
    usage_in: Literal["x_groq", "choices"] = "x_groq"
    reasoning: str = ""
    null_first: bool = False
    comments: bool = False
    split: int | None = None
    as_json: bool = False

    @property
    def pieces(self) -> Sequence[str]:
        return re.findall(r"\S+\s*|\s+", self.text) if isinstance(self.text, str) else self.text

    def play(self, exchange: Exchange, wire: Wire) -> None:
        if self.as_json:
            wire = Wire(wire.dialect)
        exchange.wait(self.first_delay)
        exchange.start(200, wire.content_type)
        exchange.write(wire.opening)
        for frame in wire.frames(self):
            exchange.wait(self.delay)
            for packet in self._packets(frame):
                exchange.write(packet)
        exchange.finish()

    def _packets(self, frame: bytes) -> Iterator[bytes]:
        size = self.split or max(len(frame), 1)
        return (frame[at : at + size] for at in range(0, len(frame), size))


@dataclass(frozen=True)
class ModelList:
    """The answer to `GET …/models`."""

    ids: tuple[str, ...]

    def play(self, exchange: Exchange, wire: Wire) -> None:
        exchange.send(200, wire.event(wire.dialect.models(self.ids)), wire.content_type)


@dataclass(frozen=True)
class ErrorStatus:
    """A status other than 200 with the provider's own kind of body."""

    problem: Problem
    headers: Mapping[str, str] = field(default_factory=dict)

    def play(self, exchange: Exchange, wire: Wire) -> None:
        provider = exchange.request.provider.partition("/")[0]
        headers = dict(self.headers)
        if self.problem.retry_after is not None and provider == "groq":
            headers["Retry-After"] = self.problem.retry_after
        body = with_key(wire.error_body(self.problem), exchange)
        exchange.send(self.problem.http_status(provider), body, "application/json; charset=UTF-8", headers)


@dataclass(frozen=True)
class Body:
    """Any status, any body, any headers."""

    body: bytes
    status: int = 200
    content_type: str = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)

    def play(self, exchange: Exchange, wire: Wire) -> None:
        headers = {name: with_key(value.encode(), exchange).decode() for name, value in self.headers.items()}
        exchange.send(self.status, with_key(self.body, exchange), self.content_type, headers)


@dataclass(frozen=True)
class Broken:
    """A good beginning, then trouble.

    after: None for trouble before the headers, 0 after them, n after n frames of `reply`. headers: more of them.
    """

    trouble: Callable[[Exchange, Wire], None]
    after: int | None = 0
    reply: Reply = Reply("one two three four five six seven eight")
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def play(self, exchange: Exchange, wire: Wire) -> None:
        if self.after is not None:
            exchange.start(self.status, wire.content_type, self.headers)
            exchange.write(wire.opening)
            for frame in islice(wire.frames(self.reply), self.after):
                exchange.wait(self.reply.delay)
                exchange.write(frame)
        self.trouble(exchange, wire)


@dataclass(frozen=True)
class Redirect:
    to: str | None
    status: int

    def play(self, exchange: Exchange, wire: Wire) -> None:
        location = self.to or exchange.request.target
        Body(b"", self.status, headers={"Location": location}).play(exchange, wire)


def with_key(data: bytes, exchange: Exchange) -> bytes:
    return data.replace(b"{key}", exchange.request.key.encode())

"""Every way in which a provider can misbehave, by name.

Wherever a fault sends text, `{key}` stands for the API key that the client sent, so that a test can see whether an
echoed key leaks. `after` says when the trouble begins: None before the headers, 0 after them, n after n frames of
content. A fault that lasts for ever lasts until the client leaves, LONGEST_WAIT at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tests.faults.behaviours import Behaviour, Body, Broken, ErrorStatus, Redirect, Reply, with_key
from tests.faults.exchange import Exchange
from tests.faults.problems import Problem
from tests.faults.wire import Wire

_FLOOD_PIECE = "x" * 65536


class Fault:
    """Makes behaviours for `FaultServer.script`."""

    @staticmethod
    def status(
        code: int,
        *,
        message: str | None = None,
        retry_after: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Behaviour:
        """An error status; 502 comes from a proxy and so is a page of HTML, unless a message is given.

        retry_after: becomes GROQ's Retry-After header and the `retryDelay` of Gemini's RetryInfo.
        """
        if code == 502 and message is None:
            page = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
            return Body(page, 502, "text/html", headers or {})
        return ErrorStatus(Problem.of(code, message=message, retry_after=retry_after), headers or {})

    @staticmethod
    def bad_key(message: str | None = None) -> Behaviour:
        """401 from GROQ, 400 with API_KEY_INVALID from Gemini."""
        return ErrorStatus(Problem.of("bad_key", message=message))

    @staticmethod
    def context_too_long() -> Behaviour:
        """400 with `context_length_exceeded` from GROQ, with the token count in the message from Gemini."""
        return ErrorStatus(Problem.of("context_too_long"))

    @staticmethod
    def blocked() -> Behaviour:
        """200 without content: Gemini's promptFeedback.blockReason, GROQ's finish_reason content_filter."""

        def refuse(exchange: Exchange, wire: Wire) -> None:
            exchange.write(b"".join(wire.event(payload) for payload in wire.dialect.blocked()))
            exchange.write(wire.closing(Reply()))
            exchange.finish()

        return Broken(refuse)

    @staticmethod
    def redirect(to: str | None = None, status: int = 302) -> Behaviour:
        """To another address, or to itself without end."""
        return Redirect(to, status)

    @staticmethod
    def body(body: bytes, *, status: int = 200, content_type: str = "text/html") -> Behaviour:
        """Any body at all, such as the log-in page of a hotel's network."""
        return Body(body, status, content_type)

    @staticmethod
    def not_http() -> Behaviour:
        """The greeting of quite another protocol."""

        def greet(exchange: Exchange, wire: Wire) -> None:
            exchange.raw(b"SSH-2.0-OpenSSH_9.2\r\n")
            exchange.hang_up()

        return Broken(greet, None)

    @staticmethod
    def hang(
        after: int | None = 0,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        reply: Reply = Broken.reply,
    ) -> Behaviour:
        """Silence, with the connection open."""
        return Broken(_hang, after, reply, status, headers or {})

    @staticmethod
    def endless_headers(interval: float = 0.05) -> Behaviour:
        """A header that grows by one byte every `interval` seconds."""

        def crawl(exchange: Exchange, wire: Wire) -> None:
            exchange.raw(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while True:
                exchange.wait(interval)
                exchange.raw(b"a")

        return Broken(crawl, None)

    @staticmethod
    def trickle(
        of: Literal["bytes", "comments", "reasoning", "content"] = "bytes",
        *,
        interval: float = 0.05,
        after: int = 0,
        status: int = 200,
    ) -> Behaviour:
        """One small thing every `interval` seconds, for ever: a byte of junk, a keep-alive, a letter."""

        def trickle(exchange: Exchange, wire: Wire) -> None:
            while True:
                exchange.wait(interval)
                letter = wire.dialect.thought("x") if of == "reasoning" else wire.dialect.text("x")
                dull = {"bytes": wire.junk, "comments": wire.keep_alive}
                exchange.write(dull.get(of) or wire.event(letter))

        return Broken(trickle, after, status=status)

    @staticmethod
    def flood(of: Literal["line", "comments", "content"] = "line", *, after: int = 0, status: int = 200) -> Behaviour:
        """Gigabytes, as fast as they are read, until the client goes away."""

        def flood(exchange: Exchange, wire: Wire) -> None:
            if of == "line":
                exchange.write(wire.endless_line)
            while True:
                piece = _FLOOD_PIECE.encode() if of == "line" else wire.keep_alive * 4096
                exchange.write(wire.event(wire.dialect.text(_FLOOD_PIECE)) if of == "content" else piece)

        return Broken(flood, after, status=status)

    @staticmethod
    def cut(
        after: int | None = 0,
        how: Literal["fin", "rst", "clean"] = "fin",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        reply: Reply = Broken.reply,
    ) -> Behaviour:
        """The connection ends: closed, reset, or (`clean`) by a proper last chunk as if all had been said."""

        def cut(exchange: Exchange, wire: Wire) -> None:
            if how == "clean":
                exchange.finish()
            else:
                exchange.hang_up(reset=how == "rst")

        return Broken(cut, after, reply, status, headers or {})

    @staticmethod
    def error_event(
        status: int = 500,
        *,
        message: str | None = None,
        after: int = 0,
        where: Literal["error", "x_groq"] = "error",
        retry_after: str | None = None,
    ) -> Behaviour:
        """An error inside a 200, which then ends properly. where: in GROQ's dialect, `error` or `x_groq.error`."""
        problem = Problem.of(status, message=message, retry_after=retry_after)

        def report(exchange: Exchange, wire: Wire) -> None:
            exchange.write(with_key(wire.event(wire.dialect.error_event(problem, where)), exchange))
            exchange.write(wire.closing(Reply(done=False)))
            exchange.finish()

        return Broken(report, after)

    @staticmethod
    def malformed_json(after: int = 0, *, text: str = "half") -> Behaviour:
        """An event whose JSON is broken, then the proper end of a good answer."""

        def blunder(exchange: Exchange, wire: Wire) -> None:
            exchange.write(with_key(wire.broken_event(text), exchange))
            for frame in wire.frames(Reply(())):
                exchange.write(frame)
            exchange.finish()

        return Broken(blunder, after)

    @staticmethod
    def malformed_stream(after: int = 0) -> Behaviour:
        """Lines that are no events, then a clean end of the body."""

        def babble(exchange: Exchange, wire: Wire) -> None:
            exchange.write(b'\xff\xfe\x00dat a: {}}\n\n{"choices": [}\n\nevent: error\n\n')
            exchange.finish()

        return Broken(babble, after)


def _hang(exchange: Exchange, wire: Wire) -> None:
    exchange.wait()

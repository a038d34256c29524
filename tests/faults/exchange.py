"""HTTP/1.1 from the server's side, byte by byte, so that it can be broken anywhere."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LONGEST_WAIT = 30.0
"""Seconds that an exchange may last, so that a client without a deadline fails its test instead of hanging it."""


class ClientGone(Exception):
    """The client closed its side (or the server is stopping)."""


class GaveUp(Exception):
    """The exchange lasted LONGEST_WAIT, and the client was still there."""


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived. `headers` have lower-case names; `body` is parsed JSON, or None without a body."""

    method: str
    target: str
    headers: dict[str, str]
    body: Any

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def provider(self) -> str:
        """`groq`, `gemini`, with `/models` added when the list of models was asked for; `unknown` otherwise."""
        name = "groq" if self.path.startswith("/openai/v1/") else "gemini" if self.path.startswith("/v1beta/") else ""
        if name and self.method == "GET" and self.path.endswith("/models"):
            return f"{name}/models"
        asks = self.path.endswith(("/chat/completions", ":generateContent", ":streamGenerateContent"))
        return name if name and self.method == "POST" and asks else "unknown"

    @property
    def model(self) -> str:
        if self.path.startswith("/v1beta/models/"):
            return self.path.removeprefix("/v1beta/models/").partition(":")[0]
        return self.body.get("model", "") if isinstance(self.body, dict) else ""

    @property
    def key(self) -> str:
        """The API key that the client sent, however it sent it."""
        bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
        return bearer or self.headers.get("x-goog-api-key") or self.query.get("key", "")


class Connection:
    """One accepted socket, which carries one request after another."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(LONGEST_WAIT)
        self.sock = sock
        self._buffer = b""

    def read_request(self) -> Recorded | None:
        """The next request, or None when the client has closed the connection."""
        try:
            while b"\r\n\r\n" not in self._buffer:
                self._receive()
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            request_line, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = request_line.split(" ")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            length = int(headers.get("content-length", 0))
            while len(self._buffer) < length:
                self._receive()
        except ClientGone:
            return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Recorded(method, target, headers, json.loads(body) if body else None)

    def _receive(self) -> None:
        try:
            received = self.sock.recv(65536)
        except OSError as error:
            raise ClientGone from error
        if not received:
            raise ClientGone
        self._buffer += received


class Exchange:
    """One request and its response in the making.

    Every method raises ClientGone once the client has left, and GaveUp after LONGEST_WAIT.
    """

    def __init__(self, connection: Connection, request: Recorded) -> None:
        self.request = request
        self.reusable = False  # a whole response was sent: the connection may carry another
        self._sock = connection.sock
        self._ends = time.monotonic() + LONGEST_WAIT

    def send(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """A whole response in one go."""
        self._send(self._head(status, content_type, {"Content-Length": str(len(body)), **(headers or {})}) + body)
        self.reusable = True

    def start(self, status: int, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """The head of a chunked response."""
        self._send(self._head(status, content_type, {"Transfer-Encoding": "chunked", **(headers or {})}))

    def write(self, data: bytes) -> None:
        """A piece of a chunked response, in a packet of its own."""
        if data:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self) -> None:
        """The proper end of a chunked response."""
        self._send(b"0\r\n\r\n")
        self.reusable = True

    def raw(self, data: bytes) -> None:
        """Bytes that need not be HTTP."""
        self._send(data)

    def wait(self, seconds: float = LONGEST_WAIT) -> None:
        """Let time pass, but notice at once that the client leaves."""
        remaining = self._ends - time.monotonic()
        if seconds > 0:
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            # A client sends nothing before it has its answer, so whatever can be read is the end.
            if poll.poll(max(0.0, min(seconds, remaining)) * 1000):
                raise ClientGone
        if seconds >= remaining:
            raise GaveUp

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection: with a FIN, or with a RST as a crashed host or a firewall does."""
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.reusable = False
        self._sock.close()

    def _head(self, status: int, content_type: str, headers: Mapping[str, str]) -> bytes:
        lines = [f"HTTP/1.1 {status} {_reason(status)}", f"Content-Type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _send(self, data: bytes) -> None:
        if time.monotonic() >= self._ends:
            raise GaveUp
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise ClientGone from error


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"  # such as GROQ's 498

"""A provider on the loopback interface that speaks GROQ's and Gemini's wire formats, as fast as one process can.

`python -m benchmarks.mock` prints its port and serves until its standard input is closed. The model's name says what
it does:

one-chunk     a short answer in one piece
thinks-100    the same after 100 ms (or any other number)
many-chunks   CHUNKS pieces, each sent on its own, without a pause
paced-30      thinks for 30 ticks (or any other number), then TOKENS pieces, one every tick of TICK seconds
status-429    refuses, with this or any other status
hang          accepts the request and never answers
hang-3        goes silent after 3 pieces (or any other number) and keeps the connection open

`GET /stats` tells how many requests each model has received, `GET /ended` at which moments a client has left one that
hangs (`time.monotonic`, which is one clock for all processes of a machine).
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections import Counter
from typing import Any

CHUNKS = 500
TOKENS = 1000
TICK = 0.01
_USAGE = {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20}
_GEMINI_USAGE = {"promptTokenCount": 12, "candidatesTokenCount": 8, "totalTokenCount": 20}

requests: Counter[str] = Counter()
ended: list[float] = []
paced: dict[Connection, int] = {}
"""Streams under way, with the number of tokens each has had, below 0 while it thinks. One timer serves them all."""


class Connection(asyncio.Protocol):
    """One client's connection, kept alive between its requests."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.gemini = False
        self.hanging = False

    def connection_lost(self, error: Exception | None) -> None:
        if self.hanging:
            ended.append(time.monotonic())
        paced.pop(self, None)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = end + 4 + int(headers.get("content-length", 0))
            if len(self.buffer) < size:
                return
            body, self.buffer = self.buffer[end + 4 : size], self.buffer[size:]
            self.answer(first.split(" ")[1], body)

    def answer(self, path: str, body: bytes) -> None:
        if path == "/stats":
            self.send_json(200, dict(requests))
            return
        if path == "/ended":
            self.send_json(200, ended)
            return
        asked = json.loads(body)
        self.gemini = path.startswith("/v1beta/models/")
        model = path.removeprefix("/v1beta/models/").partition(":")[0] if self.gemini else asked["model"]
        requests[model] += 1
        self.hanging = model.startswith("hang")
        if model == "hang":
            return
        if model.startswith("status-"):
            status = int(model.removeprefix("status-"))
            self.send_json(status, {"error": {"message": f"This model answers {status}.", "code": status}})
        elif not self.gemini and not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": _word(0)}, "finish_reason": "stop"}
            self.send_json(200, _completion("chat.completion", choice) | {"usage": _USAGE, "service_tier": "on_demand"})
        else:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            if model == "one-chunk":
                self.transport.write(head + self.tokens[0] + self.end)
                return
            self.transport.write(head)
            if model.startswith("thinks-"):
                seconds = int(model.removeprefix("thinks-")) / 1000
                asyncio.get_running_loop().call_later(seconds, self.transport.write, self.tokens[0] + self.end)
                return
            if model.startswith("paced-"):
                paced[self] = -int(model.removeprefix("paced-"))
                return
            for token in self.tokens[: int(model.removeprefix("hang-")) if self.hanging else CHUNKS]:
                self.transport.write(token)
            if not self.hanging:
                self.transport.write(self.end)

    @property
    def tokens(self) -> list[bytes]:
        return GEMINI_TOKENS if self.gemini else GROQ_TOKENS

    @property
    def end(self) -> bytes:
        return GEMINI_END if self.gemini else GROQ_END

    def send_json(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} Mock\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


def _completion(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "mock", "object": kind, "created": 0, "model": "mock", "choices": [choice]}


def _word(number: int) -> str:
    """Never twice the same: litellm takes repetition for a fault of the model."""
    return f" word {number}"


def _event(text: str) -> bytes:
    """A server-sent event as one chunk of a chunked body."""
    data = f"data: {text}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def _groq(delta: dict[str, str], finish_reason: str | None = None) -> str:
    return json.dumps(
        _completion("chat.completion.chunk", {"index": 0, "delta": delta, "finish_reason": finish_reason})
        | ({"x_groq": {"id": "mock", "usage": _USAGE}} if finish_reason else {})
    )


def _gemini(text: str, finish_reason: str | None = None) -> str:
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    last = {"finishReason": finish_reason} if finish_reason else {}
    return json.dumps({"candidates": [candidate | last], "usageMetadata": _GEMINI_USAGE})


GROQ_TOKENS = [_event(_groq({"content": _word(number)})) for number in range(TOKENS)]
GROQ_END = _event(_groq({}, "stop")) + _event("[DONE]") + b"0\r\n\r\n"
GEMINI_TOKENS = [_event(_gemini(_word(number))) for number in range(TOKENS)]
GEMINI_END = _event(_gemini("", "STOP")) + b"0\r\n\r\n"


async def _keep_pace() -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += TICK
        await asyncio.sleep(due - loop.time())
        for connection, sent in list(paced.items()):
            paced[connection] = sent + 1
            if sent == TOKENS:
                del paced[connection]
                connection.transport.write(connection.end)
            elif sent >= 0:
                connection.transport.write(connection.tokens[sent])


async def main() -> None:
    """Serve until standard input ends, which is when whoever started this has ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    pace = asyncio.create_task(_keep_pace())
    await loop.run_in_executor(None, sys.stdin.read)
    pace.cancel()


if __name__ == "__main__":
    asyncio.run(main())

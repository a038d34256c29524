"""How GROQ and Gemini put an answer, or an error, on the wire.

Two dialects say what is in the JSON (`Groq`, `Gemini`), three framings how it travels: one document (`Wire` itself),
Server-Sent Events, or the JSON array that Gemini streams when it is asked without `alt=sse`, as Google's SDK does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.faults.exchange import Recorded
from tests.faults.problems import Problem

if TYPE_CHECKING:
    from tests.faults.behaviours import Reply

Payload = dict[str, Any]

THOUGHT_TOKENS = 3
"""Of a reply's completion tokens, those that a reply with reasoning spent on it."""


class Groq:
    """OpenAI's shapes with GROQ's additions."""

    def __init__(self, request: Recorded) -> None:
        self.model = request.model

    def chunk(self, delta: Payload, finish: str | None = None, **more: Any) -> Payload:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._envelope("chat.completion.chunk"), "choices": [choice], **more}

    def lead(self, reply: Reply) -> list[Payload]:
        delta = {"role": "assistant", "content": None if reply.null_first else ""}
        return [self.chunk(delta, x_groq={"id": "req_01test"})]

    def text(self, text: str) -> Payload:
        return self.chunk({"content": text})

    def thought(self, text: str) -> Payload:
        return self.chunk({"reasoning": text, "channel": "analysis"})

    def end(self, reply: Reply) -> list[Payload]:
        usage = self._usage(reply)
        in_x_groq = {"x_groq": {"id": "req_01test", "usage": usage}} if usage and reply.usage_in == "x_groq" else {}
        last = [self.chunk({}, self.finish(reply.finish), **in_x_groq)] if reply.finish or in_x_groq else []
        if usage and reply.usage_in == "choices":
            last.append({**self._envelope("chat.completion.chunk"), "choices": [], "usage": usage})
        return last

    def blocked(self) -> list[Payload]:
        return [self.chunk({}, "content_filter")]

    def whole(self, reply: Reply) -> Payload:
        message = {"role": "assistant", "content": "".join(reply.pieces)}
        if reply.reasoning:
            message["reasoning"] = reply.reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish(reply.finish)}
        usage = {"usage": self._usage(reply)} if reply.usage else {}
        return {**self._envelope("chat.completion"), "choices": [choice], **usage, "x_groq": {"id": "req_01test"}}

    def error(self, problem: Problem) -> Payload:
        return {"error": problem.groq(self.model)}

    def error_event(self, problem: Problem, where: str) -> Payload:
        if where == "error":
            return self.error(problem)
        return self.chunk({}, x_groq={"id": "req_01test", "error": problem.groq(self.model)["message"]})

    def finish(self, reason: str | None) -> str | None:
        return {"safety": "content_filter"}.get(reason, reason) if reason else None

    def models(self, ids: tuple[str, ...]) -> Payload:
        entry = {"object": "model", "created": 1_790_000_000, "owned_by": "OpenAI", "active": True}
        limits = {"context_window": 131_072, "max_completion_tokens": 65_536}
        return {"object": "list", "data": [{"id": name, **entry, **limits} for name in ids]}

    def _envelope(self, kind: str) -> Payload:
        return {"id": "chatcmpl-test", "object": kind, "created": 1_790_000_000, "model": self.model}

    def _usage(self, reply: Reply) -> Payload | None:
        if reply.usage is None:
            return None
        prompt, completion = reply.usage
        details = {"completion_tokens_details": {"reasoning_tokens": THOUGHT_TOKENS}} if reply.reasoning else {}
        counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return {**counts, **details, "total_time": 0.01}


class Gemini:
    """GenerateContentResponse, with enums as names or, as Google's SDK asks for them, as numbers."""

    def __init__(self, request: Recorded) -> None:
        self.model = request.model
        self._numeric = "enum-encoding=int" in request.query.get("$alt", "")

    def chunk(self, parts: list[Payload], finish: str | None = None, **more: Any) -> Payload:
        candidate: Payload = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = self.finish(finish)
        return {"candidates": [candidate], **more, "modelVersion": self.model, "responseId": "resp-test"}

    def lead(self, reply: Reply) -> list[Payload]:
        return []

    def text(self, text: str) -> Payload:
        return self.chunk([{"text": text}])

    def thought(self, text: str) -> Payload:
        return self.chunk([{"text": text, "thought": True}])

    def end(self, reply: Reply) -> list[Payload]:
        usage = self._usage(reply)
        return [self.chunk([{"text": ""}], reply.finish, **usage)] if reply.finish or usage else []

    def blocked(self) -> list[Payload]:
        reason = 1 if self._numeric else "SAFETY"
        usage = {"promptTokenCount": 4, "totalTokenCount": 4}
        return [{"promptFeedback": {"blockReason": reason}, "usageMetadata": usage, "modelVersion": self.model}]

    def whole(self, reply: Reply) -> Payload:
        thoughts = [{"text": reply.reasoning, "thought": True}] if reply.reasoning else []
        return self.chunk([*thoughts, {"text": "".join(reply.pieces)}], reply.finish, **self._usage(reply))

    def error(self, problem: Problem) -> Payload:
        return {"error": problem.gemini(self.model)}

    def error_event(self, problem: Problem, where: str) -> Payload:
        return self.error(problem)

    def finish(self, reason: str) -> str | int:
        name, number = {"stop": ("STOP", 1), "length": ("MAX_TOKENS", 2), "safety": ("SAFETY", 3)}[reason]
        return number if self._numeric else name

    def models(self, ids: tuple[str, ...]) -> Payload:
        limits = {"inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536}
        listed = []
        for name in ids:
            methods = ["embedContent"] if "embedding" in name else ["generateContent", "countTokens"]
            listed.append(
                {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods} | limits
            )
        return {"models": listed}

    def _usage(self, reply: Reply) -> Payload:
        if reply.usage is None:
            return {}
        prompt, completion = reply.usage
        counts = {"promptTokenCount": prompt, "totalTokenCount": prompt + completion}
        if reply.reasoning:
            counts |= {"thoughtsTokenCount": THOUGHT_TOKENS}
            completion -= THOUGHT_TOKENS
        return {"usageMetadata": {**counts, "candidatesTokenCount": completion}}


class Wire:
    """One JSON document: an answer that was not asked to stream, and every error status."""

    content_type = "application/json; charset=UTF-8"
    opening = b""
    junk = b" "
    """A byte that means nothing and may be repeated."""
    keep_alive = b" \n"
    """What a server sends to show that it is still there."""
    endless_line = b'{"text": "'
    """The beginning of something that has no end."""

    def __init__(self, dialect: Groq | Gemini) -> None:
        self.dialect = dialect

    def frames(self, reply: Reply) -> Iterator[bytes]:
        """A good answer in the steps in which it is sent: one for each piece of content, then the end."""
        document = json.dumps(self.dialect.whole(reply)).encode()
        step = len(document) // (len(reply.pieces) + 1) + 1
        yield from (document[at : at + step] for at in range(0, len(document), step))

    def closing(self, reply: Reply) -> bytes:
        """What follows the last frame's payloads."""
        return b""

    def event(self, payload: Payload) -> bytes:
        return json.dumps(payload).encode()

    def broken_event(self, text: str) -> bytes:
        """An event whose JSON ends too early."""
        return json.dumps(self.dialect.text(text)).encode()[:-9]

    def error_body(self, problem: Problem) -> bytes:
        return json.dumps(self.dialect.error(problem), indent=2).encode()


class StreamingWire(Wire):
    """What the two streaming framings share."""

    def frames(self, reply: Reply) -> Iterator[bytes]:
        dialect = self.dialect
        lead = b"".join(self.event(payload) for payload in dialect.lead(reply))
        contents = [dialect.thought(reply.reasoning)] if reply.reasoning else []
        contents += [dialect.text(piece) for piece in reply.pieces]
        for content in contents:
            yield lead + (self.keep_alive if reply.comments else b"") + self.event(content)
            lead = b""
        yield lead + b"".join(self.event(payload) for payload in dialect.end(reply)) + self.closing(reply)


class GroqSseWire(StreamingWire):
    content_type = "text/event-stream"
    junk = b":"
    keep_alive = b": keep-alive\n\n"
    endless_line = b"data: "
    line_break = b"\n"

    def event(self, payload: Payload) -> bytes:
        return self._frame(super().event(payload))

    def broken_event(self, text: str) -> bytes:
        return self._frame(super().broken_event(text))

    def closing(self, reply: Reply) -> bytes:
        return self._frame(b"[DONE]") if reply.done else b""

    def _frame(self, data: bytes) -> bytes:
        return b"data: " + data + self.line_break * 2


class GeminiSseWire(GroqSseWire):
    """Gemini ends its lines with CRLF and says no `[DONE]`."""

    line_break = b"\r\n"

    def closing(self, reply: Reply) -> bytes:
        return b""


class GeminiArrayWire(StreamingWire):
    """`[{…}\\n,\\r\\n{…}\\n]`, pretty-printed as the real service does."""

    opening = b"["
    endless_line = b'{"text": "'

    def __init__(self, dialect: Gemini) -> None:
        super().__init__(dialect)
        self._separator = b""

    def event(self, payload: Payload) -> bytes:
        return self._element(json.dumps(payload, indent=2).encode())

    def broken_event(self, text: str) -> bytes:
        # Balanced braces: an incremental parser sees a whole element, whose inside is not JSON.
        return self._element(b'{"candidates": oops %b}' % text.encode())

    def closing(self, reply: Reply) -> bytes:
        return b"]"

    def error_body(self, problem: Problem) -> bytes:
        return b"[" + super().error_body(problem) + b"\n]"

    def _element(self, element: bytes) -> bytes:
        separator, self._separator = self._separator, b",\r\n"
        return separator + element + b"\n"


def wire_for(request: Recorded) -> Wire:
    """The wire that this request asked for."""
    if not request.provider.startswith("gemini"):
        streams = isinstance(request.body, dict) and request.body.get("stream")
        return GroqSseWire(Groq(request)) if streams else Wire(Groq(request))
    if not request.path.endswith(":streamGenerateContent"):
        return Wire(Gemini(request))
    return GeminiSseWire(Gemini(request)) if request.query.get("alt") == "sse" else GeminiArrayWire(Gemini(request))

"""GROQ, and any other endpoint that speaks OpenAI's chat completions.

Wire format: https://console.groq.com/docs/api-reference#chat-create and
https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from router.errors import ErrorKind, NotConfigured, ProviderError
from router.lifeline import Lifeline
from router.providers.failure import interrupted, malformed, no_endpoint, refused
from router.providers.http import HttpClient, duration, read_body, retry_after, sse_events
from router.settings import Secret, Settings
from router.types import Delta, Request, Usage

_CODES = {
    "invalid_api_key": ErrorKind.AUTHENTICATION,
    "model_not_found": ErrorKind.MODEL_NOT_FOUND,
    "model_decommissioned": ErrorKind.MODEL_NOT_FOUND,
    "context_length_exceeded": ErrorKind.CONTEXT_TOO_LONG,
    "content_filter": ErrorKind.CONTENT_BLOCKED,
    "content_policy_violation": ErrorKind.CONTENT_BLOCKED,
    "rate_limit_exceeded": ErrorKind.RATE_LIMITED,
}
_STATUSES = {
    401: ErrorKind.AUTHENTICATION,
    403: ErrorKind.AUTHENTICATION,
    404: ErrorKind.MODEL_NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    429: ErrorKind.RATE_LIMITED,
    498: ErrorKind.OVERLOADED,  # GROQ's own: no capacity in the flex tier
    503: ErrorKind.OVERLOADED,
    504: ErrorKind.TIMEOUT,
}
_NOT_FOR_CHAT = re.compile(r"whisper|tts|orpheus|embed|guard|safeguard|rerank|image", re.I)
_TOO_LONG = re.compile(r"context (length|window)|too long|reduce (the|your) (length|message)", re.I)


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """A provider with an OpenAI-compatible endpoint. Its settings are named `<NAME>_API_KEY`, `_API_URL`, `_MODEL`."""

    name: str
    label: str
    default_model: str
    url: str
    key: Secret | None
    http: HttpClient

    @classmethod
    def groq(cls, settings: Settings, http: HttpClient) -> ChatCompletions:
        """GROQ as the settings describe it."""
        return cls("groq", "GROQ", settings.groq_model, settings.groq_api_url, settings.groq_api_key, http)

    @property
    def thinking_levels(self) -> tuple[str, ...]:
        """`reasoning_effort` of the gpt-oss models."""
        return ("low", "medium", "high")

    def problem(self) -> NotConfigured | None:
        """Without a key there is nothing to try."""
        if self.key is None:
            setting = f"{self.name.upper()}_API_KEY"
            return NotConfigured(setting, f"{self.label} is not configured: set {setting} in .env")
        return None

    def stream(self, request: Request, lifeline: Lifeline) -> Generator[Delta]:
        """See `Provider.stream`."""
        assert self.key is not None, "the engine asks problem() first"
        headers = {"Authorization": f"Bearer {self.key.reveal()}", "Content-Type": "application/json"}
        body = json.dumps(_payload(request)).encode()
        with self.http.request(self.name, "POST", self.url, headers, body, lifeline, self._refused) as response:
            if response.headers.get("content-type", "").startswith("application/json"):
                yield from self._completion(response)
            else:
                yield from self._chunks(response)

    def list_models(self, lifeline: Lifeline) -> tuple[str, ...]:
        """See `Provider.list_models`. The list names no purpose, so models for other things are told by their id."""
        assert self.key is not None, "asked only when problem() is None"
        url = self.url.removesuffix("/chat/completions") + "/models"
        headers = {"Authorization": f"Bearer {self.key.reveal()}"}
        with self.http.request(self.name, "GET", url, headers, None, lifeline, self._refused) as response:
            listed = self._parse(read_body(self.name, response).decode(errors="replace")).get("data")
        if not isinstance(listed, list):
            raise malformed(self.name, "something that is not a list of models")
        ids = [str(entry.get("id")) for entry in listed if isinstance(entry, dict) and entry.get("active", True)]
        return tuple(sorted(one for one in ids if not _NOT_FOR_CHAT.search(one)))

    def _chunks(self, response: httpx.Response) -> Iterator[Delta]:
        usage: Usage | None = None
        finish_reason: str | None = None
        some_text = False
        for event in sse_events(self.name, response, last="[DONE]"):
            if event == "[DONE]":
                # Some compatible servers give no finish_reason and mean this.
                finish_reason = finish_reason or ("stop" if some_text else None)
                break
            chunk = self._parse(event)
            usage = _usage(chunk) or usage
            for choice in chunk.get("choices") or ():
                finish_reason = choice.get("finish_reason") or finish_reason
                text = (choice.get("delta") or {}).get("content") or ""
                some_text = some_text or bool(text)
                # Without text it is reasoning or a role: never shown, but a sign of life.
                yield Delta(text)
        yield self._end(finish_reason, usage, some_text)

    def _completion(self, response: httpx.Response) -> Iterator[Delta]:
        """The whole answer at once, from a server that does not stream."""
        completion = self._parse(read_body(self.name, response).decode(errors="replace"))
        choice = (completion.get("choices") or [{}])[0]
        text = (choice.get("message") or {}).get("content") or ""
        yield Delta(text)
        yield self._end(choice.get("finish_reason"), _usage(completion), bool(text))

    def _parse(self, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise malformed(self.name, "something that is not a JSON object")
        error = value.get("error") or (value.get("x_groq") or {}).get("error")
        if error:
            raise self._failure(None, error if isinstance(error, dict) else {"message": str(error)}, None)
        return value

    def _end(self, finish_reason: str | None, usage: Usage | None, some_text: bool) -> Delta:
        if finish_reason is None:
            raise interrupted(self.name, "no finish reason")
        if finish_reason == "content_filter" and not some_text:
            raise refused(self.name, ErrorKind.CONTENT_BLOCKED, None, "")
        return Delta(usage=usage, finish_reason=finish_reason)

    def _refused(self, status: int, headers: httpx.Headers, body: bytes) -> ProviderError:
        try:
            details = json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            details = {}
        if not isinstance(details, dict):
            details = {"message": str(details)}
        return self._failure(status, details, _wait(status, headers))

    def _failure(self, status: int | None, details: dict[str, Any], wait: float | None) -> ProviderError:
        """What a failure means: by its error code, else by its status, else (in a stream) a server error."""
        said = str(details.get("message") or "").strip()
        kind = (
            _CODES.get(str(details.get("code"))) or _CODES.get(str(details.get("type"))) or _STATUSES.get(status or 0)
        )
        if status is not None and (300 <= status < 400 or (status == 404 and not said)):
            return no_endpoint(self.name, status)
        if status == 413:
            # GROQ's code says rate_limit_exceeded for a prompt larger than the limit of a minute: waiting is no help.
            kind = ErrorKind.CONTEXT_TOO_LONG
        if kind is None and status is not None and 400 <= status < 500:
            kind = ErrorKind.CONTEXT_TOO_LONG if _TOO_LONG.search(said) else ErrorKind.BAD_REQUEST
        return refused(self.name, kind or ErrorKind.SERVER_ERROR, status, said, wait)


def _wait(status: int, headers: httpx.Headers) -> float | None:
    """Seconds to wait: what Retry-After says, else, when rate limited, until each exhausted limit is reset.

    Source: https://console.groq.com/docs/rate-limits
    """
    asked = retry_after(headers.get("retry-after"), time.time())
    if asked is not None or status != 429:
        return asked
    exhausted = [limit for limit in ("requests", "tokens") if headers.get(f"x-ratelimit-remaining-{limit}") == "0"]
    resets = [duration(headers.get(f"x-ratelimit-reset-{limit}", "")) for limit in exhausted]
    return max((reset for reset in resets if reset is not None), default=None)


def _payload(request: Request) -> dict[str, Any]:
    messages = [{"role": m.role, "content": m.content} for m in request.messages]
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    parameters = {
        "temperature": request.temperature,
        "max_completion_tokens": request.max_tokens,
        "top_p": request.top_p,
        "reasoning_effort": request.thinking,
    }
    return {
        "model": request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    } | {name: value for name, value in parameters.items() if value is not None}


def _usage(chunk: dict[str, Any]) -> Usage | None:
    """GROQ reports in `x_groq.usage` of the last chunk, OpenAI in a chunk without choices."""
    usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
    return Usage.reported(usage.get("prompt_tokens"), usage.get("completion_tokens")) if usage else None

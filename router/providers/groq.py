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

from router.errors import NotConfigured, ProviderError
from router.lifeline import Lifeline
from router.providers.failure import Cause, cause_of, interrupted, malformed, refused
from router.providers.http import HttpClient, duration, parse, read_body, retry_after, sse_events
from router.providers.quoting import as_name
from router.settings import Secret, Settings
from router.types import Delta, Request, Usage

_CODES = {
    "invalid_api_key": Cause.KEY,
    "organization_restricted": Cause.ACCOUNT,
    "model_terms_required": Cause.TERMS,
    "model_not_found": Cause.MODEL,
    "model_decommissioned": Cause.MODEL,
    "context_length_exceeded": Cause.TOO_LONG,
    "content_filter": Cause.BLOCKED,
    "content_policy_violation": Cause.BLOCKED,
    "rate_limit_exceeded": Cause.RATE,
}
_STATUSES = {
    # The code says rate_limit_exceeded for a prompt larger than the limit of a minute: waiting is no help.
    413: Cause.TOO_LONG,
    498: Cause.LOAD,  # no capacity in the flex tier
}
"""Of GROQ's own meaning, whatever the code says."""
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
        active = [entry.get("id") for entry in listed if isinstance(entry, dict) and entry.get("active", True)]
        ids = [one for given in active if (one := as_name(given, self.key))]
        return tuple(sorted(one for one in ids if not _NOT_FOR_CHAT.search(one)))

    def _chunks(self, response: httpx.Response) -> Iterator[Delta]:
        finished = some_text = False
        for event in sse_events(self.name, response, last="[DONE]"):
            if event == "[DONE]":
                if some_text and not finished:
                    finished = True
                    yield Delta(finish_reason="stop")  # some compatible servers give none and mean this
                break
            chunk = self._parse(event)
            usage = _usage(chunk)
            choices: list[dict[str, Any]] = chunk.get("choices") or [{}]
            for choice in choices:
                text = (choice.get("delta") or {}).get("content") or ""
                some_text = some_text or bool(text)
                reason = choice.get("finish_reason")
                finished = finished or bool(reason)
                # Without text it is reasoning or a role: never shown, but a sign of life.
                yield Delta(text, usage, self._finish_reason(reason))
        if not finished:
            raise interrupted(self.name, "no finish reason")

    def _completion(self, response: httpx.Response) -> Iterator[Delta]:
        """The whole answer at once, from a server that does not stream."""
        completion = self._parse(read_body(self.name, response).decode(errors="replace"))
        choice = (completion.get("choices") or [{}])[0]
        text, reason = (choice.get("message") or {}).get("content") or "", choice.get("finish_reason")
        yield Delta(text, _usage(completion), self._finish_reason(reason))
        if not reason:
            raise interrupted(self.name, "no finish reason")

    def _parse(self, text: str) -> dict[str, Any]:
        try:
            value = parse(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise malformed(self.name, "something that is not a JSON object")
        error = value.get("error") or _object(value.get("x_groq")).get("error")
        if error:
            raise self._failure(None, error, None)
        return value

    def _finish_reason(self, said: object) -> str | None:
        if said == "content_filter":
            raise refused(self.name, Cause.BLOCKED, None, "", self.key)
        return as_name(said, self.key)

    def _refused(self, status: int, headers: httpx.Headers, body: bytes) -> ProviderError:
        try:
            error = _object(parse(body)).get("error")
        except ValueError:
            error = None
        return self._failure(status, error, _wait(status, headers))

    def _failure(self, status: int | None, error: object, wait: float | None) -> ProviderError:
        """What a failure means: by its error code, else by its status, else (in a stream) a server error."""
        details = error if isinstance(error, dict) else {"message": error}
        said = str(details.get("message") or "").strip()
        cause = (
            _STATUSES.get(status or 0)
            or _CODES.get(str(details.get("code")))
            or _CODES.get(str(details.get("type")))
            or cause_of(status, explained=bool(error))
        )
        if cause is Cause.REQUEST and _TOO_LONG.search(said):
            cause = Cause.TOO_LONG
        return refused(self.name, cause, status, said, self.key, wait)


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
    usage = _object(chunk.get("usage") or _object(chunk.get("x_groq")).get("usage"))
    return Usage.reported(usage.get("prompt_tokens"), usage.get("completion_tokens"))


def _object(value: object) -> dict[str, Any]:
    """A part of a JSON document that ought to be an object: empty when it is none."""
    return value if isinstance(value, dict) else {}

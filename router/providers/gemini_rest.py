"""Gemini's REST API: its wire format, and the backend that speaks it over httpx.

Wire format: https://ai.google.dev/api/generate-content
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
from router.settings import Secret
from router.types import Delta, Request, Usage

NAME = "gemini"
_KINDS = {
    "UNAUTHENTICATED": ErrorKind.AUTHENTICATION,
    "PERMISSION_DENIED": ErrorKind.AUTHENTICATION,
    "NOT_FOUND": ErrorKind.MODEL_NOT_FOUND,
    "RESOURCE_EXHAUSTED": ErrorKind.RATE_LIMITED,
    "UNAVAILABLE": ErrorKind.OVERLOADED,
    "INTERNAL": ErrorKind.SERVER_ERROR,
    "DEADLINE_EXCEEDED": ErrorKind.TIMEOUT,
}
_STATUSES = {
    401: ErrorKind.AUTHENTICATION,
    403: ErrorKind.AUTHENTICATION,
    404: ErrorKind.MODEL_NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    413: ErrorKind.CONTEXT_TOO_LONG,
    429: ErrorKind.RATE_LIMITED,
    503: ErrorKind.OVERLOADED,
    504: ErrorKind.TIMEOUT,
}
_TOO_LONG = re.compile(r"token count|exceeds the maximum number of tokens|too long", re.I)
_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}
_BLOCKED = {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"}


@dataclass(frozen=True, slots=True)
class GeminiRest:
    """Gemini over httpx: `streamGenerateContent?alt=sse`."""

    default_model: str
    url: str
    key: Secret | None
    http: HttpClient
    name: str = NAME
    label: str = "Gemini"

    @property
    def thinking_levels(self) -> tuple[str, ...]:
        """`thinkingLevel` of the Gemini 3 models."""
        return ("minimal", "low", "medium", "high")

    def problem(self) -> NotConfigured | None:
        """Without a key there is nothing to try."""
        return missing_key(self.key)

    def list_models(self, lifeline: Lifeline) -> tuple[str, ...]:
        """See `Provider.list_models`."""
        assert self.key is not None, "asked only when problem() is None"
        return list_models(self.url, self.key, self.http, lifeline)

    def stream(self, request: Request, lifeline: Lifeline) -> Generator[Delta]:
        """See `Provider.stream`."""
        assert self.key is not None, "the engine asks problem() first"
        url = f"{self.url}/v1beta/models/{model_id(request)}:streamGenerateContent?alt=sse"
        headers = {"x-goog-api-key": self.key.reveal(), "Content-Type": "application/json"}
        body = json.dumps(payload(request)).encode()
        with self.http.request(NAME, "POST", url, headers, body, lifeline, refusal) as response:
            yield from read(responses(response))


def responses(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """GenerateContentResponse objects in JSON form, from server-sent events, or from the JSON of a server without."""
    try:
        if response.headers.get("content-type", "").startswith("application/json"):
            whole = json.loads(read_body(NAME, response))
            yield from whole if isinstance(whole, list) else [whole]
            return
        for event in sse_events(NAME, response):
            yield json.loads(event)
    except ValueError:
        raise malformed(NAME, "something that is not JSON") from None


def list_models(url: str, key: Secret, http: HttpClient, lifeline: Lifeline) -> tuple[str, ...]:
    """The models that can generate content, by either backend. Raises ProviderError, and Cancelled."""
    headers = {"x-goog-api-key": key.reveal()}
    with http.request(NAME, "GET", f"{url}/v1beta/models?pageSize=1000", headers, None, lifeline, refusal) as response:
        try:
            listed = json.loads(read_body(NAME, response))["models"]
            able = [one["name"] for one in listed if "generateContent" in one.get("supportedGenerationMethods", ())]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise malformed(NAME, "something that is not a list of models") from None
    return tuple(sorted(str(name).removeprefix("models/") for name in able))


def missing_key(key: Secret | None) -> NotConfigured | None:
    """Why Gemini cannot be used, or None when there is a key."""
    if key is None:
        return NotConfigured("GEMINI_API_KEY", "Gemini is not configured: set GEMINI_API_KEY in .env")
    return None


def model_id(request: Request) -> str:
    """The model's id as it stands in the address. Raises ProviderError for one that would change the address."""
    name = request.model.removeprefix("models/")
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise refused(NAME, ErrorKind.MODEL_NOT_FOUND, None, f"{name!r} cannot be the id of a model")
    return name


def payload(request: Request) -> dict[str, Any]:
    """A GenerateContentRequest as JSON."""
    body: dict[str, Any] = {
        "contents": [
            {"role": "model" if m.role == "assistant" else "user", "parts": [{"text": m.content}]}
            for m in request.messages
        ]
    }
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    settings: dict[str, Any] = {
        "temperature": request.temperature,
        "maxOutputTokens": request.max_tokens,
        "topP": request.top_p,
        "thinkingConfig": {"thinkingLevel": request.thinking} if request.thinking else None,
    }
    config = {name: value for name, value in settings.items() if value is not None}
    if config:
        body["generationConfig"] = config
    return body


def read(responses: Iterator[dict[str, Any]]) -> Iterator[Delta]:
    """Deltas from GenerateContentResponse objects in JSON form.

    Raises ProviderError when the content was blocked, an error came in the stream, or it ended without a finish reason.
    """
    usage: Usage | None = None
    finish_reason = ""
    for response in responses:
        if not isinstance(response, dict):
            raise malformed(NAME, "something that is not a JSON object")
        if response.get("error"):
            raise failure(None, response["error"])
        blocked = (response.get("promptFeedback") or {}).get("blockReason")
        if blocked and blocked != "BLOCK_REASON_UNSPECIFIED":
            raise refused(NAME, ErrorKind.CONTENT_BLOCKED, None, str(blocked))
        usage = _usage(response.get("usageMetadata")) or usage
        for candidate in (response.get("candidates") or ())[:1]:
            parts = (candidate.get("content") or {}).get("parts") or ()
            yield Delta("".join(part.get("text") or "" for part in parts if not part.get("thought")))
            finish_reason = _finish_reason(candidate) or finish_reason
    if finish_reason in _BLOCKED:
        raise refused(NAME, ErrorKind.CONTENT_BLOCKED, None, finish_reason)
    if not finish_reason:
        raise interrupted(NAME, "no finish reason")
    yield Delta(usage=usage, finish_reason=_FINISH.get(finish_reason, finish_reason.lower()))


def _finish_reason(candidate: dict[str, Any]) -> str:
    reason = str(candidate.get("finishReason") or "")
    return "" if reason == "FINISH_REASON_UNSPECIFIED" else reason


def _usage(metadata: dict[str, Any] | None) -> Usage | None:
    """Thinking is billed as output; the SDK's types know it only as what is missing from the total."""
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
    counts = [(metadata or {}).get(name) or 0 for name in names]
    if any(type(count) is not int for count in counts):
        return None
    prompt, answer, thoughts, total = counts
    return Usage.reported(prompt, max(answer + thoughts, total - prompt))


def refusal(status: int, headers: httpx.Headers, body: bytes) -> ProviderError:
    """What a response other than 200 means. A streaming call gets its error inside a JSON array."""
    try:
        value = json.loads(body)
        details = (value[0] if isinstance(value, list) else value)["error"]
    except (ValueError, KeyError, TypeError, IndexError):
        details = {}
    return failure(status, details, retry_after(headers.get("retry-after"), time.time()))


def failure(status: int | None, details: object, wait: float | None = None) -> ProviderError:
    """What an error object means, by its reason, its status name, or the HTTP status."""
    error = details if isinstance(details, dict) else {"message": str(details)}
    said = str(error.get("message") or "").strip()
    if status is not None and (300 <= status < 400 or (status == 404 and not said)):
        return no_endpoint(NAME, status)
    kind = _KINDS.get(str(error.get("status"))) or _STATUSES.get(status or 0)
    notes = error.get("details")
    for note in notes if isinstance(notes, list) else ():
        if isinstance(note, dict):
            if note.get("reason") == "API_KEY_INVALID":
                kind = ErrorKind.AUTHENTICATION
            delay = duration(str(note.get("retryDelay")))
            wait = delay if delay is not None else wait
    if kind is None and (error.get("status") == "INVALID_ARGUMENT" or (status is not None and 400 <= status < 500)):
        kind = ErrorKind.CONTEXT_TOO_LONG if _TOO_LONG.search(said) else ErrorKind.BAD_REQUEST
    return refused(NAME, kind or ErrorKind.SERVER_ERROR, status, said, wait)

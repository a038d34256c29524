"""Gemini's REST API: its wire format, and the backend that speaks it over httpx.

Wire format: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from router.errors import NotConfigured, ProviderError
from router.lifeline import Lifeline
from router.providers.failure import Cause, cause_of, interrupted, malformed, refused
from router.providers.http import HttpClient, duration, parse, read_body, retry_after, sse_events
from router.providers.quoting import as_name
from router.settings import Secret
from router.types import Delta, Request, Usage

NAME = "gemini"
_CODES = {
    "UNAUTHENTICATED": Cause.KEY,
    "PERMISSION_DENIED": Cause.KEY,
    "FAILED_PRECONDITION": Cause.ACCOUNT,  # no service in this country, or none without billing
    "NOT_FOUND": Cause.MODEL,
    "RESOURCE_EXHAUSTED": Cause.RATE,
    "UNAVAILABLE": Cause.LOAD,
    "INTERNAL": Cause.SERVER,
    "DEADLINE_EXCEEDED": Cause.WAIT,
}
_TOO_LONG = re.compile(r"token count|exceeds the maximum number of tokens|too long", re.I)
_NO_FINISH = (None, "", "FINISH_REASON_UNSPECIFIED")
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
        refuse = partial(refusal, self.key)
        with self.http.request(NAME, "POST", url, headers, body, lifeline, refuse) as response:
            yield from read(responses(response), self.key)


def responses(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """GenerateContentResponse objects in JSON form, from server-sent events, or from the JSON of a server without."""
    try:
        if response.headers.get("content-type", "").startswith("application/json"):
            whole = parse(read_body(NAME, response))
            yield from whole if isinstance(whole, list) else [whole]
            return
        for event in sse_events(NAME, response):
            yield parse(event)
    except ValueError:
        raise malformed(NAME, "something that is not JSON") from None


def list_models(url: str, key: Secret, http: HttpClient, lifeline: Lifeline) -> tuple[str, ...]:
    """The models that can generate content, by either backend. Raises ProviderError, and Cancelled."""
    headers = {"x-goog-api-key": key.reveal()}
    address, refuse = f"{url}/v1beta/models?pageSize=1000", partial(refusal, key)
    with http.request(NAME, "GET", address, headers, None, lifeline, refuse) as response:
        try:
            listed = parse(read_body(NAME, response))["models"]
            able = [one["name"] for one in listed if "generateContent" in one.get("supportedGenerationMethods", ())]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise malformed(NAME, "something that is not a list of models") from None
    return tuple(sorted(name.removeprefix("models/") for given in able if (name := as_name(given, key))))


def missing_key(key: Secret | None) -> NotConfigured | None:
    """Why Gemini cannot be used, or None when there is a key."""
    if key is None:
        return NotConfigured("GEMINI_API_KEY", "Gemini is not configured: set GEMINI_API_KEY in .env")
    return None


def model_id(request: Request) -> str:
    """The model's id as it stands in the address. Raises ProviderError for one that would change the address."""
    name = request.model.removeprefix("models/")
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise refused(NAME, Cause.MODEL, None, f"{name!r} cannot be the id of a model", None)
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


def read(responses: Iterator[dict[str, Any]], key: Secret | None) -> Iterator[Delta]:
    """Deltas from GenerateContentResponse objects in JSON form. key: the one that was sent, and may be quoted.

    Raises ProviderError when the content was blocked, an error came in the stream, or it ended without a finish reason.
    """
    usage: Usage | None = None
    finished = False
    for response in responses:
        if not isinstance(response, dict):
            raise malformed(NAME, "something that is not a JSON object")
        if response.get("error"):
            raise _failure(None, response["error"], key)
        blocked = (response.get("promptFeedback") or {}).get("blockReason")
        if blocked and blocked != "BLOCK_REASON_UNSPECIFIED":
            raise refused(NAME, Cause.BLOCKED, None, str(blocked), key)
        usage = _usage(response.get("usageMetadata")) or usage
        for candidate in (response.get("candidates") or [{}])[:1]:
            parts = (candidate.get("content") or {}).get("parts") or ()
            text = "".join(part.get("text") or "" for part in parts if not part.get("thought"))
            reason = candidate.get("finishReason")
            finished = finished or reason not in _NO_FINISH
            name = None if reason in _NO_FINISH else as_name(reason, key)
            if name in _BLOCKED:
                raise refused(NAME, Cause.BLOCKED, None, name, key)
            # Until then the usage counts only a part.
            yield Delta(text, usage if finished else None, _FINISH.get(name, name.lower()) if name else None)
    if not finished:
        raise interrupted(NAME, "no finish reason")


def _usage(metadata: object) -> Usage | None:
    """Thinking is billed as output; the SDK's types know it only as what is missing from the total."""
    if not isinstance(metadata, dict):
        return None
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
    counts = [0 if metadata.get(name) is None else metadata[name] for name in names]
    if any(type(count) is not int or count < 0 for count in counts):
        return None
    prompt, answer, thoughts, total = counts
    return Usage.reported(prompt, max(answer + thoughts, total - prompt))


def refusal(key: Secret, status: int, headers: httpx.Headers, body: bytes) -> ProviderError:
    """What a response other than 200 means. A streaming call gets its error inside a JSON array."""
    try:
        value = parse(body)
        error = (value[0] if isinstance(value, list) else value)["error"]
    except (ValueError, KeyError, TypeError, IndexError):
        error = None
    return _failure(status, error, key, retry_after(headers.get("retry-after"), time.time()))


def _failure(status: int | None, error: object, key: Secret | None, wait: float | None = None) -> ProviderError:
    """What an error means, by its reason, its status name, or the HTTP status, which in a stream is its code."""
    details = error if isinstance(error, dict) else {"message": error}
    said = str(details.get("message") or "").strip()
    code = status if status is not None else details.get("code")
    cause = _CODES.get(str(details.get("status"))) or cause_of(
        code if isinstance(code, int) else None, explained=bool(error)
    )
    notes = details.get("details")
    for note in notes if isinstance(notes, list) else ():
        if isinstance(note, dict):
            if note.get("reason") == "API_KEY_INVALID":
                cause = Cause.KEY
            delay = duration(str(note.get("retryDelay")))
            wait = delay if delay is not None else wait
    if cause is Cause.REQUEST and _TOO_LONG.search(said):
        cause = Cause.TOO_LONG
    return refused(NAME, cause, status, said, key, wait)

"""What requests and responses look like: bodies read and checked, answers and errors as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from router.errors import (
    AllProvidersFailed,
    BadRequest,
    BudgetExceeded,
    ErrorKind,
    LogUnavailable,
    NotConfigured,
    PromptTooLong,
    ProviderError,
    RouterError,
    UnknownPrompt,
    UnknownTemplate,
)
from router.types import Answer, Message

_OPTIONS: dict[str, type | tuple[type, ...]] = {
    "template": str,
    "variables": dict,
    "system": str,
    "history": list,
    "temperature": (int, float),
    "max_tokens": int,
    "top_p": (int, float),
    "thinking": str,
    "fallback": bool,
}


class Refused(Exception):
    """The request itself is at fault."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def read_options(body: dict[str, Any]) -> dict[str, Any]:
    """The options of a chat from its body. Raises Refused for one that is unknown or has the wrong type."""
    unknown = body.keys() - _OPTIONS.keys()
    if unknown:
        names = ", ".join(_OPTIONS)
        raise Refused(422, "bad_request", f"There is no option {sorted(unknown)[0]!r}. Options: {names}.")
    options = {name: value for name, value in body.items() if value is not None}
    for name, value in options.items():
        kind = _OPTIONS[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Refused(422, "bad_request", f"{name} has the wrong type: {type(value).__name__}.")
    if "history" in options:
        options["history"] = [_message(turn) for turn in options["history"]]
    return options


def _message(turn: object) -> Message:
    if isinstance(turn, dict) and turn.get("role") in ("system", "user", "assistant"):
        content = turn.get("content")
        if isinstance(content, str):
            return Message(turn["role"], content)
    raise Refused(
        422, "bad_request", 'Each turn of "history" has a "role" (system, user or assistant) and a "content".'
    )


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The JSON object that a request carries. Raises Refused; `limit` is in bytes."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(400, "bad_request", "Send the body as Content-Type: application/json.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise Refused(413, "bad_request", f"The body is larger than {limit:,} bytes (MAX_PROMPT_CHARS).")
    except ClientDisconnect:
        raise Refused(400, "bad_request", "The connection ended within the body.") from None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "bad_request", f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Refused(422, "bad_request", "The body is not a JSON object.")
    return value


def answer_json(answer: Answer) -> dict[str, Any]:
    """An answer as `POST /chat` gives it."""
    return {
        "prompt_id": answer.prompt_id,
        "model": answer.model,
        "provider": answer.provider,
        "requested_model": answer.requested_model,
        "status": answer.status,
        "response": answer.text,
        "finish_reason": answer.finish_reason,
        "latency_ms": answer.latency_ms,
        "ttft_ms": answer.ttft_ms,
        "token_count": answer.usage.total_tokens,
        "usage": asdict(answer.usage) | {"total_tokens": answer.usage.total_tokens},
        "cost_usd": answer.cost_usd,
        "attempts": [asdict(attempt) for attempt in answer.attempts],
    }


def router_error(error: RouterError) -> JSONResponse:
    """The response for an error of the router: its status, its kind, what was tried."""
    kind = getattr(error, "kind", None) or _snake_case(type(error).__name__)
    return error_json(_status(error), str(kind), str(error), error)


def _status(error: RouterError) -> int:
    kinds = {attempt.kind for attempt in error.attempts if attempt.outcome != "skipped"}
    if isinstance(error, UnknownPrompt | UnknownTemplate):
        return 404
    if isinstance(error, BadRequest):
        if isinstance(error, PromptTooLong):
            return 413
        return 400 if error.attempts else 422
    if isinstance(error, BudgetExceeded):
        return 429
    if isinstance(error, AllProvidersFailed | ProviderError | NotConfigured):
        if kinds == {ErrorKind.RATE_LIMITED}:
            return 429
        return 504 if kinds == {ErrorKind.TIMEOUT} else 502
    return 503 if isinstance(error, LogUnavailable) else 500


def error_json(status: int, kind: str, message: str, error: RouterError | None = None) -> JSONResponse:
    """The response for any error."""
    attempts = [asdict(attempt) for attempt in error.attempts] if error else []
    body: dict[str, Any] = {"kind": kind, "message": message, "attempts": attempts}
    if error and error.prompt_id:
        body["prompt_id"] = error.prompt_id
    wait = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(math.ceil(wait))} if status == 429 and wait is not None else None
    return JSONResponse({"error": body}, status_code=status, headers=headers)


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")

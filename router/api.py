"""The HTTP routes, on the port of the pages. Starlette comes with Streamlit.

Without API_TOKEN they answer to this machine only; with it, to whoever sends `Authorization: Bearer <token>`.
"""

from __future__ import annotations

import gc
import hmac
import json
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from importlib import import_module
from ipaddress import ip_address
from itertools import chain
from typing import Any
from urllib.parse import urlencode

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from router import tokens
from router.engine import AnswerStream
from router.errors import (
    AllProvidersFailed,
    BadRequest,
    ErrorKind,
    LogUnavailable,
    ProviderError,
    RouterError,
    UnknownPrompt,
    UnknownTemplate,
)
from router.router import Router, shared_router
from router.types import Answer, Message

LINK_SECONDS = 3600
"""How long a download link of the Analytics page works."""

_threads = anyio.CapacityLimiter(400)
_link_secret = secrets.token_bytes(32)
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


class _Refused(Exception):
    """The request itself is at fault."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


Handler = Callable[[Request], Awaitable[Response]]


def _guarded(handler: Handler) -> Handler:
    """The route behind every check that a web page of another site or a stranger must not pass."""

    async def guarded(request: Request) -> Response:
        try:
            _check_caller(request)
            return await handler(request)
        except _Refused as refused:
            return _error(refused.status, refused.kind, str(refused))
        except RouterError as error:
            return _router_error(error)

    return guarded


def _check_caller(request: Request) -> None:
    token = shared_router().settings.api_token
    if _has_valid_signature(request):
        return
    if token is None:
        client = request.client.host if request.client else ""
        if not _is_loopback(client) or not _is_loopback(_hostname(request)):
            raise _Refused(
                401, "unauthorized", "Only this machine may call without a token. Set API_TOKEN to allow others."
            )
    else:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not hmac.compare_digest(given.encode(), token.reveal().encode()):
            raise _Refused(401, "unauthorized", "Send the value of API_TOKEN as Authorization: Bearer <token>.")
    origin = request.headers.get("origin")
    if origin and origin.partition("://")[2] != request.headers.get("host"):
        raise _Refused(403, "forbidden", "This request comes from a page of another site.")


def _hostname(request: Request) -> str:
    """The name in the Host header. Not `request.url`: that puts the server's own address in the place of a bad one."""
    host = request.headers.get("host", "").lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def signed_link(path: str, parameters: Mapping[str, str]) -> str:
    """A link to a download that a browser may follow without a token, for LINK_SECONDS."""
    query = urlencode({**parameters, "expires": str(int(time.time()) + LINK_SECONDS)})
    return f"{path}?{query}&signature={_signature(path, query)}"


def _signature(path: str, query: str) -> str:
    return hmac.new(_link_secret, f"{path}?{query}".encode(), sha256).hexdigest()


def _has_valid_signature(request: Request) -> bool:
    query, separator, signature = request.url.query.rpartition("&signature=")
    if request.method != "GET" or not separator:
        return False
    if not hmac.compare_digest(signature.encode(), _signature(request.url.path, query).encode()):
        return False
    return float(request.query_params["expires"]) > time.time()


async def _chat(request: Request) -> Response:
    router = shared_router()
    body = await _json_body(request, limit=4 * router.settings.max_prompt_chars + 1_000_000)
    prompt = body.pop("prompt", None)
    if not isinstance(prompt, str):
        raise _Refused(422, "bad_request", 'The body needs "prompt", a text.')
    ask = partial(router.open, prompt, hold=True, model=request.query_params.get("model", "groq"), **_options(body))
    stream = await anyio.to_thread.run_sync(ask, limiter=_threads)
    await _read_to_the_end(stream, request)
    return JSONResponse(_answer(stream.answer))


async def _read_to_the_end(stream: AnswerStream, request: Request) -> None:
    """Raises what reading raises. A client that leaves ends the upstream request."""

    async def close_when_the_client_leaves() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        await anyio.to_thread.run_sync(stream.close, limiter=_threads)

    def read() -> RouterError | None:
        try:
            for _ in stream:
                pass
        except RouterError as error:
            return error
        return None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close_when_the_client_leaves)
        error = await anyio.to_thread.run_sync(read, limiter=_threads)
        tasks.cancel_scope.cancel()
    if error:
        raise error


def _options(body: dict[str, Any]) -> dict[str, Any]:
    unknown = body.keys() - _OPTIONS.keys()
    if unknown:
        names = ", ".join(_OPTIONS)
        raise _Refused(422, "bad_request", f"There is no option {sorted(unknown)[0]!r}. Options: {names}.")
    options = {name: value for name, value in body.items() if value is not None}
    for name, value in options.items():
        kind = _OPTIONS[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _Refused(422, "bad_request", f"{name} has the wrong type: {type(value).__name__}.")
    if "history" in options:
        options["history"] = [_message(turn) for turn in options["history"]]
    return options


def _message(turn: object) -> Message:
    if isinstance(turn, dict) and turn.get("role") in ("system", "user", "assistant"):
        content = turn.get("content")
        if isinstance(content, str):
            return Message(turn["role"], content)
    raise _Refused(
        422, "bad_request", 'Each turn of "history" has a "role" (system, user or assistant) and a "content".'
    )


async def _json_body(request: Request, limit: int) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Refused(400, "bad_request", "Send the body as Content-Type: application/json.")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _Refused(413, "bad_request", f"The body is larger than {limit:,} bytes (MAX_PROMPT_CHARS).")
    except ClientDisconnect:
        raise _Refused(400, "bad_request", "The connection ended within the body.") from None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "bad_request", f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise _Refused(422, "bad_request", "The body is not a JSON object.")
    return value


def _answer(answer: Answer) -> dict[str, Any]:
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


async def _rate(request: Request) -> Response:
    prompt_id = request.query_params.get("prompt_id", "")
    score = request.query_params.get("score", "")
    if score not in {"1", "2", "3", "4", "5"}:
        raise _Refused(422, "bad_request", f"score is a whole number from 1 to 5, not {score!r}.")
    rate = partial(shared_router().rate, prompt_id, int(score))
    await anyio.to_thread.run_sync(rate, limiter=_threads)
    return JSONResponse({"prompt_id": prompt_id, "rating": int(score)})


async def _models(request: Request) -> Response:
    return JSONResponse({"models": [asdict(choice) for choice in shared_router().models()]})


async def _health(request: Request) -> Response:
    health = await anyio.to_thread.run_sync(shared_router().health, limiter=_threads)
    return JSONResponse(health)


def _download(media_type: str, chunks: Callable[[Router], Iterator[bytes]]) -> Handler:
    async def download(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        pieces = chunks(shared_router())
        # The first piece comes before the headers: a log that cannot be read gets the status of an error.
        first = await anyio.to_thread.run_sync(next, pieces, limiter=_threads)
        return StreamingResponse(chain([first], pieces), media_type=media_type, headers=headers)

    return download


def _csv(router: Router) -> Iterator[bytes]:
    from router.log import export

    return export.csv_chunks(router.log)


def _json(router: Router) -> Iterator[bytes]:
    from router.log import export

    return export.json_chunks(router.log)


def _router_error(error: RouterError) -> JSONResponse:
    kind = getattr(error, "kind", None) or _snake_case(type(error).__name__)
    return _error(_status(error), str(kind), str(error), error)


def _status(error: RouterError) -> int:
    kinds = {attempt.kind for attempt in error.attempts if attempt.outcome != "skipped"}
    if isinstance(error, UnknownPrompt | UnknownTemplate):
        return 404
    if isinstance(error, BadRequest):
        if "MAX_PROMPT_CHARS" in str(error):
            return 413
        return 400 if error.attempts else 422
    if isinstance(error, AllProvidersFailed | ProviderError):
        if kinds == {ErrorKind.RATE_LIMITED}:
            return 429
        return 504 if kinds == {ErrorKind.TIMEOUT} else 502
    return 503 if isinstance(error, LogUnavailable) else 502


def _error(status: int, kind: str, message: str, error: RouterError | None = None) -> JSONResponse:
    attempts = [asdict(attempt) for attempt in error.attempts] if error else []
    body: dict[str, Any] = {"kind": kind, "message": message, "attempts": attempts}
    if error and error.prompt_id:
        body["prompt_id"] = error.prompt_id
    return JSONResponse({"error": body}, status_code=status)


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


routes = [
    Route("/chat", _guarded(_chat), methods=["POST"]),
    Route("/rate", _guarded(_rate), methods=["POST"]),
    Route("/models", _guarded(_models), methods=["GET"]),
    Route("/health", _guarded(_health), methods=["GET"]),
    Route("/logs/prompts.csv", _guarded(_download("text/csv; charset=utf-8", _csv)), methods=["GET"]),
    Route("/logs/prompts.json", _guarded(_download("application/json", _json)), methods=["GET"]),
]


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:
    """Ready the socket, and in the background what the first request and the first page would wait for."""
    # Streamlit's socket is made with proto=0, so asyncio leaves Nagle on: 44 ms per call.
    for candidate in gc.get_objects():
        if isinstance(candidate, socket.socket) and candidate.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):
                if candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_warm, name="router-warm", daemon=True).start()
    yield
    if shared_router.cache_info().currsize:
        shared_router().close()


def _warm() -> None:
    tokens.warm()
    with suppress(RouterError):  # a broken setting is reported where it is used
        shared_router().health()  # opens the log
    for charting in ("altair", "pandas"):
        import_module(charting)

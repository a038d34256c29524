"""The routes themselves."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Generator
from dataclasses import asdict
from functools import partial
from itertools import chain

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from router.api.access import Handler, guarded
from router.api.messages import Refused, answer_json, read_json, read_options
from router.engine import AnswerStream
from router.errors import RouterError
from router.router import Router, shared_router

_waiting_for_answers = anyio.CapacityLimiter(400)
# Of their own, so that whoever leaves, or asks how things are, never queues behind those who wait.
_threads = anyio.CapacityLimiter(40)
_waiting_for_the_log = anyio.CapacityLimiter(40)
MOST_DOWNLOADS = 20
"""At once: each holds some megabytes for as long as its client takes."""
_downloads = threading.BoundedSemaphore(MOST_DOWNLOADS)


async def _chat(request: Request) -> Response:
    router = shared_router()
    body = await read_json(request, limit=4 * router.settings.max_prompt_chars + 1_000_000)
    prompt = body.pop("prompt", None)
    if not isinstance(prompt, str):
        raise Refused(422, "bad_request", 'The body needs "prompt", a text.')
    ask = partial(router.open, prompt, hold=True, model=request.query_params.get("model", "groq"), **read_options(body))
    stream = await anyio.to_thread.run_sync(ask, limiter=_threads)
    await _read_to_the_end(stream, request)
    return JSONResponse(answer_json(stream.answer))


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
        error = await anyio.to_thread.run_sync(read, limiter=_waiting_for_answers)
        tasks.cancel_scope.cancel()
    if error:
        raise error


async def _rate(request: Request) -> Response:
    prompt_id = request.query_params.get("prompt_id", "")
    score = request.query_params.get("score", "")
    if score not in {"1", "2", "3", "4", "5"}:
        raise Refused(422, "bad_request", f"score is a whole number from 1 to 5, not {score!r}.")
    rate = partial(shared_router().rate, prompt_id, int(score))
    await anyio.to_thread.run_sync(rate, limiter=_waiting_for_the_log)
    return JSONResponse({"prompt_id": prompt_id, "rating": int(score)})


async def _models(request: Request) -> Response:
    return JSONResponse({"models": [asdict(choice) for choice in shared_router().models()]})


async def _health(request: Request) -> Response:
    health = await anyio.to_thread.run_sync(shared_router().health, limiter=_threads)
    return JSONResponse(health)


def _download(media_type: str, chunks: Callable[[Router], Generator[bytes]]) -> Handler:
    async def download(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        if not _downloads.acquire(blocking=False):
            raise Refused(503, "busy", f"{MOST_DOWNLOADS} downloads are under way. Try again later.")
        pieces = chunks(shared_router())
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            # Streamlit would do it, but at a level that takes twice as long for a file that is a seventh smaller.
            pieces = _gzipped(pieces)
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        try:
            # The first piece comes before the headers: a log that cannot be read gets the status of an error.
            first = await anyio.to_thread.run_sync(next, pieces, limiter=_threads)
        except BaseException:
            _downloads.release()
            raise
        return _Download(chain([first], pieces), media_type=media_type, headers=headers)

    return download


def _gzipped(pieces: Generator[bytes]) -> Generator[bytes]:
    compressor = zlib.compressobj(zlib.Z_BEST_SPEED, wbits=16 + zlib.MAX_WBITS)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


class _Download(StreamingResponse):
    """A file in pieces. However it ends, its place is given back."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            _downloads.release()


def _csv(router: Router) -> Generator[bytes]:
    from router.log import export

    return export.csv_chunks(router.log)


def _json(router: Router) -> Generator[bytes]:
    from router.log import export

    return export.json_chunks(router.log)


routes = [
    Route("/chat", guarded(_chat), methods=["POST"]),
    Route("/rate", guarded(_rate), methods=["POST"]),
    Route("/models", guarded(_models), methods=["GET"]),
    Route("/health", guarded(_health), methods=["GET"]),
    Route("/logs/prompts.csv", guarded(_download("text/csv; charset=utf-8", _csv)), methods=["GET"]),
    Route("/logs/prompts.json", guarded(_download("application/json", _json)), methods=["GET"]),
]

"""A requests adapter that sends through our `HttpClient`. Imported with google-generativeai, which needs requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from router.lifeline import Lifeline
from router.providers.http import HttpClient, Refusal


class HttpxAdapter(BaseAdapter):
    """Mounted on a requests session, it gives every request the lifeline of the thread that sends it."""

    def __init__(self, provider: str, http: HttpClient, refusal: Refusal) -> None:
        super().__init__()
        self._provider = provider
        self._http = http
        self._refusal = refusal
        self._thread = threading.local()

    @contextmanager
    def sending(self, lifeline: Lifeline, upstream: ExitStack) -> Iterator[None]:
        """Requests sent in this block obey `lifeline`; closing `upstream` ends their responses."""
        self._thread.call = lifeline, upstream
        try:
            yield
        finally:
            del self._thread.call

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Raises ProviderError for every status but 200, before the library can rephrase it."""
        lifeline, upstream = self._thread.call
        assert isinstance(request.body, str), "the generated client sends JSON text"
        headers = {name: str(value) for name, value in request.headers.items()}
        sent = upstream.enter_context(
            self._http.request(
                self._provider, "POST", str(request.url), headers, request.body.encode(), lifeline, self._refusal
            )
        )
        response = Response()
        response.status_code = sent.status_code
        response.headers = CaseInsensitiveDict(sent.headers)
        response.encoding = "utf-8"
        response.url = str(request.url)
        response.request = request
        response.raw = _Body(sent)
        return response

    def close(self) -> None:
        """The pool belongs to `HttpClient`."""


class _Body:
    """What requests reads a body through. Gives bytes as they arrive: one at a time, as asked for, would be slow."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def stream(self, chunk_size: int, decode_content: bool) -> Iterator[bytes]:
        return self._response.iter_raw()

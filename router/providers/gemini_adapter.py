"""A requests adapter that sends through our `HttpClient`. Imported with google-generativeai, which needs requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter

from router.lifeline import Lifeline
from router.providers.http import HttpClient, Refusal


class HttpxAdapter(BaseAdapter):
    """Mounted on a requests session, it gives every request the lifeline of the thread that sends it.

    It asks for server-sent events, and `responses` of `sending` are for the caller to read: the library's own reader
    of a JSON array passes over errors, shows thoughts as text, and takes time quadratic in the length of a chunk.
    """

    def __init__(self, provider: str, http: HttpClient, refusal: Refusal) -> None:
        super().__init__()
        self._provider = provider
        self._http = http
        self._refusal = refusal
        self._thread = threading.local()

    @contextmanager
    def sending(self, lifeline: Lifeline, upstream: ExitStack) -> Iterator[list[httpx.Response]]:
        """Requests sent in this block obey `lifeline`; closing `upstream` ends their responses, which are yielded."""
        responses: list[httpx.Response] = []
        self._thread.call = lifeline, upstream, responses
        try:
            yield responses
        finally:
            del self._thread.call

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Raises ProviderError for every status but 200, before the library can rephrase it."""
        lifeline, upstream, responses = self._thread.call
        assert isinstance(request.body, str), "the generated client sends JSON text"
        url = urlsplit(str(request.url))._replace(query="alt=sse").geturl()
        headers = {name: str(value) for name, value in request.headers.items()}
        sent = upstream.enter_context(
            self._http.request(self._provider, "POST", url, headers, request.body.encode(), lifeline, self._refusal)
        )
        responses.append(sent)
        response = Response()
        response.status_code = sent.status_code
        response.request = request
        return response

    def close(self) -> None:
        """The pool belongs to `HttpClient`."""

"""Gemini through google-generativeai: its low-level REST client, sent over our own httpx pool.

The library's convenience layer delivers each chunk one chunk late, retries a 503 for up to ten minutes and cannot be
cancelled. Its generated client does none of that, and its requests session takes any adapter: ours sends through
`HttpClient`, so the deadlines, the stop button and the error mapping of every other provider hold here as well.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections.abc import Generator
from contextlib import ExitStack
from functools import cached_property

import httpx

from router.errors import ErrorKind, NotConfigured
from router.lifeline import Lifeline
from router.providers.failure import refused
from router.providers.gemini_rest import NAME, list_models, missing_key, model_id, payload, read, refusal, responses
from router.providers.http import HttpClient
from router.settings import Secret
from router.types import Delta, Request


class GeminiSdk:
    """Gemini through google-generativeai. Importing it takes about a second, so that starts with the object."""

    name = NAME
    label = "Gemini"
    thinking_levels: tuple[str, ...] = ()  # the library's types are older than thinking levels

    def __init__(self, default_model: str, url: str, key: Secret | None, http: HttpClient) -> None:
        self.default_model = default_model
        self._url = url
        self._key = key
        self._http = http
        if key is not None:
            threading.Thread(target=lambda: self._client, name="router-import-google", daemon=True).start()

    def problem(self) -> NotConfigured | None:
        """Without a key there is nothing to try."""
        return missing_key(self._key)

    def stream(self, request: Request, lifeline: Lifeline) -> Generator[Delta]:
        """See `Provider.stream`."""
        with ExitStack() as upstream:
            yield from read(responses(self._client.send(request, lifeline, upstream)))

    def list_models(self, lifeline: Lifeline) -> tuple[str, ...]:
        """See `Provider.list_models`."""
        assert self._key is not None, "asked only when problem() is None"
        return list_models(self._url, self._key, self._http, lifeline)

    @cached_property
    def _client(self) -> _Client:
        with _import_lock:
            return _Client(self._url, self._key, self._http)


_import_lock = threading.Lock()


class _Client:
    def __init__(self, url: str, key: Secret | None, http: HttpClient) -> None:
        # At import the library announces that its support has ended (the README says so too) and, years ahead, that of
        # this Python version.
        for package in ("google.generativeai", "google.api_core"):
            warnings.filterwarnings("ignore", message=rf"(?s).*{re.escape(package)}", category=FutureWarning)
        import google.generativeai  # noqa: F401  the package that was asked for; it brings the client below
        from google.ai import generativelanguage
        from google.api_core.client_options import ClientOptions
        from google.protobuf.json_format import ParseError

        from router.providers.gemini_adapter import HttpxAdapter

        self._types = generativelanguage
        self._parse_error = ParseError
        assert key is not None, "problem() says so before anything is sent"
        options = ClientOptions(api_key=key.reveal(), api_endpoint=url)
        self._service = generativelanguage.GenerativeServiceClient(transport="rest", client_options=options)
        session = self._service.transport._session  # type: ignore[attr-defined]  # the REST transport has one
        session._max_refresh_attempts = 0  # a refused key stays refused
        session.trust_env = False  # proxies are httpx's business
        self._adapter = HttpxAdapter(NAME, http, refusal)
        session.mount("http://", self._adapter)
        session.mount("https://", self._adapter)

    def send(self, request: Request, lifeline: Lifeline, upstream: ExitStack) -> httpx.Response:
        try:
            message = self._types.GenerateContentRequest.from_json(json.dumps(payload(request)))
        except self._parse_error as error:
            # The library's types are narrower than JSON: max_tokens has 32 bits, for example.
            raise refused(NAME, ErrorKind.BAD_REQUEST, None, str(error)) from None
        message.model = f"models/{model_id(request)}"
        with self._adapter.sending(lifeline, upstream) as sent:
            self._service.stream_generate_content(message, retry=None, timeout=None)
        return sent[-1]

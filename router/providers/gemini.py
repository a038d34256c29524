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
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

import httpx

from router.errors import ErrorKind, NotConfigured, ProviderError
from router.lifeline import Lifeline
from router.providers.failure import Cause, refused
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
        self._loading: Future[_Client] = Future()
        if key is not None:
            threading.Thread(target=self._load, args=(key,), name="router-import-google", daemon=True).start()

    def problem(self) -> NotConfigured | None:
        """Without a key there is nothing to try."""
        return missing_key(self._key)

    def stream(self, request: Request, lifeline: Lifeline) -> Generator[Delta]:
        """See `Provider.stream`."""
        self._await_import(lifeline)
        with ExitStack() as upstream:
            yield from read(responses(self._client.send(request, lifeline, upstream)), self._key)

    def list_models(self, lifeline: Lifeline) -> tuple[str, ...]:
        """See `Provider.list_models`."""
        assert self._key is not None, "asked only when problem() is None"
        return list_models(self._url, self._key, self._http, lifeline)

    @property
    def _client(self) -> _Client:
        return self._loading.result()

    def _load(self, key: Secret) -> None:
        try:
            with _import_lock:
                self._loading.set_result(_Client(self._url, key, self._http))
        except Exception as error:  # whatever it is, it is raised again in the thread that waits
            self._loading.set_exception(error)

    def _await_import(self, lifeline: Lifeline) -> None:
        if not self._loading.done():
            ended = threading.Event()
            self._loading.add_done_callback(lambda _: ended.set())
            lifeline.attach(ended.set)
            try:
                in_time = ended.wait(lifeline.remaining())
            finally:
                lifeline.detach()
            if not in_time:
                why = f"{lifeline.describe_deadline()}: google-generativeai was still being imported"
                raise ProviderError(NAME, ErrorKind.TIMEOUT, why)


_import_lock = threading.Lock()


class _Client:
    def __init__(self, url: str, key: Secret, http: HttpClient) -> None:
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
        options = ClientOptions(api_key=key.reveal(), api_endpoint=url)
        self._service = generativelanguage.GenerativeServiceClient(transport="rest", client_options=options)
        session = self._service.transport._session  # type: ignore[attr-defined]  # the REST transport has one
        session._max_refresh_attempts = 0  # a refused key stays refused
        session.trust_env = False  # proxies are httpx's business
        self._adapter = HttpxAdapter(NAME, http, partial(refusal, key))
        session.mount("http://", self._adapter)
        session.mount("https://", self._adapter)

    def send(self, request: Request, lifeline: Lifeline, upstream: ExitStack) -> httpx.Response:
        try:
            message = self._types.GenerateContentRequest.from_json(json.dumps(payload(request)))
        except self._parse_error as error:
            # The library's types are narrower than JSON: max_tokens has 32 bits, for example.
            raise refused(NAME, Cause.REQUEST, None, str(error), None) from None
        message.model = f"models/{model_id(request)}"
        with self._adapter.sending(lifeline, upstream) as sent:
            self._service.stream_generate_content(message, retry=None, timeout=None)
        return sent[-1]

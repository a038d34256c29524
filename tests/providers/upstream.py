"""What the contract tests share: one provider after the other, asked as the engine asks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from router import providers as registry
from router.errors import ErrorKind, ProviderError
from router.lifeline import Cancelled, Lifeline, Timeouts
from router.providers.base import Provider
from router.providers.http import HttpClient
from router.settings import Secret, Settings
from router.types import Message, Request, Usage
from tests.faults.behaviours import Behaviour
from tests.faults.server import FaultServer

OVER_HTTP = ("groq", "gemini sdk", "gemini rest")
KEYS = {"groq": "test-key-groq", "gemini": "test-key-gemini"}
POOL = HttpClient()
"""One for all tests, as one process has it: the TLS context takes long to build."""
PATIENT = Timeouts(connect=10, first_token=10, idle=10, total=20)


@dataclass
class Received:
    """Everything that a provider gave, up to its end or its failure."""

    pieces: list[str] = field(default_factory=list)
    usage: Usage | None = None
    finish_reason: str | None = None
    error: ProviderError | None = None
    cancelled: bool = False
    seconds: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def kind(self) -> ErrorKind | None:
        return self.error.kind if self.error else None


class Upstream:
    """One provider, with the fault server behind it unless another address is given."""

    def __init__(self, backend: str, server: FaultServer, url: str | None = None) -> None:
        if backend == "gemini sdk":
            # So that no deadline of a test has to cover the second that this takes.
            pytest.importorskip("google.generativeai")
        self.name, _, gemini_backend = backend.partition(" ")
        self.server = server
        settings = Settings(
            groq_api_key=Secret(KEYS["groq"]),
            gemini_api_key=Secret(KEYS["gemini"]),
            groq_api_url=url or server.groq_url,
            gemini_api_url=url or server.gemini_url,
            gemini_backend=gemini_backend or "rest",
        )
        self.provider: Provider = registry.build(settings, POOL)[self.name]

    def setting(self, what: str) -> str:
        """Such as GROQ_API_KEY."""
        return f"{self.name.upper()}_{what}"

    def script(self, *behaviours: Behaviour) -> None:
        self.server.script(self.name, *behaviours)

    def ask(
        self,
        *behaviours: Behaviour,
        timeouts: Timeouts = PATIENT,
        lifeline: Lifeline | None = None,
        received: Received | None = None,
        **request: Any,
    ) -> Received:
        """Ask once and read to the end. What arrives is put into `received` as it arrives."""
        if behaviours:
            self.script(*behaviours)
        received = received or Received()
        lifeline = lifeline or Lifeline(timeouts)
        started = time.monotonic()
        lifeline.begin_attempt()
        try:
            for delta in self.provider.stream(self.request(**request), lifeline):
                lifeline.progress()
                if delta.text:
                    received.pieces.append(delta.text)
                received.usage = delta.usage or received.usage
                received.finish_reason = delta.finish_reason or received.finish_reason
        except ProviderError as error:
            received.error = error
        except Cancelled:
            received.cancelled = True
        received.seconds = time.monotonic() - started
        return received

    def request(self, **fields: Any) -> Request:
        values = {"model": self.provider.default_model, "messages": (Message("user", "Hi."),), **fields}
        return Request(**values)

    @contextmanager
    def reading(self, lifeline: Lifeline, received: Received) -> Iterator[threading.Thread]:
        """Somebody else asks and reads, in a thread."""
        thread = threading.Thread(target=self.ask, kwargs={"lifeline": lifeline, "received": received})
        thread.start()
        try:
            yield thread
        finally:
            lifeline.cancel()
            thread.join(10)
            assert not thread.is_alive()


def ask_all(server: FaultServer, timeouts: Timeouts, url: str | None = None) -> dict[str, Received]:
    """What each provider that speaks HTTP gave; all are asked at the same time."""
    upstreams = [Upstream(backend, server, url) for backend in OVER_HTTP]
    with ThreadPoolExecutor() as threads:
        received = threads.map(lambda upstream: upstream.ask(timeouts=timeouts), upstreams)
    return dict(zip(OVER_HTTP, received, strict=True))

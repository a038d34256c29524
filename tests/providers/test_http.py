"""One pool for one process, until it is closed."""

from __future__ import annotations

import os

import pytest

from router import RouterError
from router import providers as registry
from router.lifeline import Lifeline
from router.providers.http import HttpClient
from router.settings import Secret, Settings
from tests.faults.server import FaultServer
from tests.providers.upstream import PATIENT, Upstream


def test_a_forked_process_opens_connections_of_its_own(upstream: Upstream) -> None:
    assert upstream.ask().error is None
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(upstream.ask().text != "Hello there.")
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert upstream.server.connections == 2
    assert upstream.ask().text == "Hello there."
    assert upstream.server.connections == 2


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("backend", ["sdk", "rest"])
def test_a_closed_router_says_so(faults: FaultServer, backend: str, used: bool) -> None:
    client = HttpClient()
    settings = Settings(
        groq_api_key=Secret("test-key-groq"),
        gemini_api_key=Secret("test-key-gemini"),
        groq_api_url=faults.groq_url,
        gemini_api_url=faults.gemini_url,
        gemini_backend=backend,
    )
    providers = registry.build(settings, client)
    request = Upstream("groq", faults).request(model="m")
    for name in ("groq", "gemini"):
        if used:
            assert any(delta.text for delta in providers[name].stream(request, Lifeline(PATIENT)))
    asked = len(faults.requests)
    client.close()
    for name in ("groq", "gemini"):
        with pytest.raises(RouterError, match=r"The router is closed\."):
            list(providers[name].stream(request, Lifeline(PATIENT)))
        with pytest.raises(RouterError, match=r"The router is closed\."):
            providers[name].list_models(Lifeline(PATIENT))
    assert len(faults.requests) == asked

"""What a provider lists is shown only where it can be the id of a model, and a list can break nothing."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest

from router import providers as registry
from router.errors import ErrorKind, ProviderError
from router.lifeline import Lifeline
from router.listing import ModelLists
from router.providers.http import HttpClient
from router.settings import Secret, Settings
from tests.faults.behaviours import Body
from tests.faults.server import FaultServer
from tests.providers.upstream import KEYS, PATIENT, Upstream

ODD: list[Any] = [None, 5, True, {"a": 1}, ["m"], "", "\ud800 lone", "a\nb", "x" * 201]


def script_list(upstream: Upstream, body: bytes) -> None:
    upstream.server.script(f"{upstream.name}/models", Body(body, 200, "application/json"))


def test_what_cannot_be_the_id_of_a_model_is_left_out(upstream: Upstream) -> None:
    ids = ["good", *ODD, f"tuned-for-{KEYS[upstream.name]}", "good-too"]
    if upstream.name == "groq":
        listed: dict[str, Any] = {"data": [{"id": one} for one in ids] + [{"active": True}, None, 5]}
    else:
        listed = {"models": [{"name": one, "supportedGenerationMethods": ["generateContent"]} for one in ids]}
    script_list(upstream, json.dumps(listed).encode())
    assert upstream.provider.list_models(Lifeline(PATIENT)) == ("good", "good-too")


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"data": ' + b"[" * 100_000, b"[]", b'{"x_groq": "no"}', b'{"data": 5, "models": 5}', b"no"],
    ids=lambda body: body[:12],
)
def test_a_list_that_is_none_is_a_malformed_response(upstream: Upstream, body: bytes) -> None:
    script_list(upstream, body)
    with pytest.raises(ProviderError) as caught:
        upstream.provider.list_models(Lifeline(PATIENT))
    assert caught.value.kind is ErrorKind.MALFORMED_RESPONSE


def test_no_failure_ends_the_thread_that_asks_with_a_traceback(
    faults: FaultServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    unhandled: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: unhandled.append(args.exc_type.__name__))
    caplog.set_level(logging.INFO)
    client = HttpClient()
    client.close()  # so that asking raises what no provider foresees
    settings = Settings(groq_api_key=Secret(KEYS["groq"]), groq_api_url=faults.groq_url)
    assert ModelLists(PATIENT).of(registry.build(settings, client)["groq"]) == ()
    for thread in threading.enumerate():
        if thread.name == "router-models":
            thread.join(5)
    assert unhandled == []
    assert caplog.messages == ["the models of GROQ could not be listed: RouterError"]

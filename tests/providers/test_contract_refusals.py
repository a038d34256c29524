"""A refusal that another provider need not share is no bad request, and its status counts whatever its body does.

Only `ErrorKind.BAD_REQUEST` keeps a prompt from the next provider, so only what says so in its own words gets it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.errors import ErrorKind
from router.lifeline import Lifeline, Timeouts
from tests.faults.behaviours import Behaviour, Body
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.providers.upstream import PATIENT, Upstream, ask_all

KINDS = {
    401: ErrorKind.AUTHENTICATION,
    429: ErrorKind.RATE_LIMITED,
    500: ErrorKind.SERVER_ERROR,
    503: ErrorKind.OVERLOADED,
}


def refusal(status: int, error: object) -> Behaviour:
    return Body(json.dumps({"error": error}).encode(), status, "application/json")


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><center>The plain HTTP request was sent to HTTPS port</center></html>",
        b"{}",
        b"[]",
        b"null",
        b'"no"',
        b"\xff\xfe",
        b'{"error": null}',
        b'{"error": {}}',
        b'{"detail": "Bad gateway"}',
        b"[" * 60_000,
    ],
    ids=lambda body: body[:20],
)
def test_a_refusal_without_a_reason_may_come_from_a_proxy(upstream: Upstream, status: int, body: bytes) -> None:
    received = upstream.ask(Fault.body(body, status=status))
    assert received.error is not None
    assert (received.error.kind, received.error.status_code) == (ErrorKind.SERVER_ERROR, status)
    assert upstream.setting("API_URL") in str(received.error)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("error", ["No such parameter.", {"message": "No such parameter.", "type": "invalid"}])
def test_a_refusal_with_a_reason_is_a_bad_request(upstream: Upstream, status: int, error: object) -> None:
    received = upstream.ask(refusal(status, error))
    assert (received.kind, received.error and received.error.status_code) == (ErrorKind.BAD_REQUEST, status)
    assert "No such parameter." in str(received.error)


@pytest.mark.parametrize(
    ("status", "what"), [(402, "API_KEY"), (451, "API_KEY"), (405, "API_URL"), (410, "API_URL"), (404, "API_URL")]
)
@pytest.mark.parametrize("body", [b"", b"<html>nginx</html>", b"[" * 60_000], ids=lambda body: body[:5])
def test_a_status_that_speaks_for_itself_names_the_setting(
    upstream: Upstream, status: int, what: str, body: bytes
) -> None:
    received = upstream.ask(Fault.body(body, status=status))
    assert received.kind in (ErrorKind.AUTHENTICATION, ErrorKind.MODEL_NOT_FOUND)
    assert upstream.setting(what) in str(received.error)


@pytest.mark.parametrize(
    ("code", "message", "kind", "setting"),
    [
        (
            "organization_restricted",
            "Organization has been restricted. Please reach out to support if you believe this was in error.",
            ErrorKind.AUTHENTICATION,
            "GROQ_API_KEY",
        ),
        (
            "model_terms_required",
            "The model `m` requires terms acceptance. Please have the org admin accept the terms.",
            ErrorKind.MODEL_NOT_FOUND,
            "GROQ_MODEL",
        ),
    ],
)
def test_groq_s_quarrel_with_the_account_is_not_the_prompt_s(
    groq: Upstream, code: str, message: str, kind: ErrorKind, setting: str
) -> None:
    received = groq.ask(refusal(400, {"message": message, "type": "invalid_request_error", "code": code}))
    assert received.kind is kind
    assert setting in str(received.error)
    assert message in str(received.error)


@pytest.mark.parametrize("backend", ["gemini sdk", "gemini rest"])
@pytest.mark.parametrize(
    "message",
    [
        "User location is not supported for the API use.",
        "Gemini API free tier is not available in your country. Please enable billing on your project.",
    ],
)
def test_gemini_s_quarrel_with_the_place_is_not_the_prompt_s(faults: FaultServer, backend: str, message: str) -> None:
    error = {"code": 400, "message": message, "status": "FAILED_PRECONDITION"}
    received = Upstream(backend, faults).ask(Body(json.dumps([{"error": error}]).encode(), 400, "application/json"))
    assert received.kind is ErrorKind.AUTHENTICATION
    assert "GEMINI_API_KEY" in str(received.error)
    assert message in str(received.error)


@pytest.mark.parametrize("status", KINDS)
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_the_status_counts_though_its_body_breaks(upstream: Upstream, status: int, after: int, how: Any) -> None:
    error = upstream.ask(Fault.cut(after, how, status=status, headers={"Retry-After": "7"})).error
    assert error is not None
    assert (error.kind, error.status_code, error.retry_after) == (KINDS[status], status, 7)


@pytest.mark.parametrize("status", KINDS)
def test_the_status_counts_though_its_body_stays_away(faults: FaultServer, status: int) -> None:
    for name in ("groq", "gemini"):
        faults.script(name, Fault.hang(0, status=status, headers={"Retry-After": "7"}))
    for backend, received in ask_all(faults, PATIENT).items():
        error = received.error
        assert error is not None
        assert (error.kind, error.status_code, error.retry_after) == (KINDS[status], status, 7), backend
        assert received.seconds < PATIENT.first_token / 2, backend


def test_the_words_of_an_error_that_trickle_in_are_not_waited_for(upstream: Upstream) -> None:
    received = upstream.ask(Fault.trickle("bytes", interval=0.01, status=500))
    assert (received.kind, received.error and received.error.status_code) == (ErrorKind.SERVER_ERROR, 500)
    assert received.seconds < PATIENT.first_token / 2
    upstream.server.wait_for("disconnected", upstream.name)


def test_the_words_of_an_error_do_not_outlive_a_deadline_that_is_nearer(upstream: Upstream) -> None:
    lifeline = Lifeline(Timeouts(connect=10, first_token=0.2, idle=10, total=10))
    received = upstream.ask(Fault.hang(0, status=500), lifeline=lifeline)
    assert (received.kind, received.error and received.error.status_code) == (ErrorKind.SERVER_ERROR, 500)
    assert lifeline.remaining() < 0.2


@pytest.mark.parametrize("status", KINDS)
def test_the_status_counts_though_its_body_is_nested_without_end(upstream: Upstream, status: int) -> None:
    received = upstream.ask(Fault.body(b"[" * 60_000, status=status, content_type="application/json"))
    assert (received.kind, received.error and received.error.status_code) == (KINDS[status], status)

"""What every provider makes of a failure: one `ErrorKind`, the facts, and words that name the setting to change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.errors import ErrorKind
from router.lifeline import Timeouts
from tests.faults.behaviours import Behaviour, Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer, refusing_url, unreachable_url
from tests.providers.upstream import OVER_HTTP, PATIENT, Upstream, ask_all

STATUSES = {
    400: ErrorKind.BAD_REQUEST,
    401: ErrorKind.AUTHENTICATION,
    403: ErrorKind.AUTHENTICATION,
    402: ErrorKind.AUTHENTICATION,
    404: ErrorKind.MODEL_NOT_FOUND,
    405: ErrorKind.MODEL_NOT_FOUND,
    407: ErrorKind.SERVER_ERROR,
    408: ErrorKind.SERVER_ERROR,
    409: ErrorKind.SERVER_ERROR,
    410: ErrorKind.MODEL_NOT_FOUND,
    413: ErrorKind.CONTEXT_TOO_LONG,
    418: ErrorKind.SERVER_ERROR,
    421: ErrorKind.SERVER_ERROR,
    422: ErrorKind.BAD_REQUEST,
    425: ErrorKind.SERVER_ERROR,
    429: ErrorKind.RATE_LIMITED,
    451: ErrorKind.AUTHENTICATION,
    499: ErrorKind.SERVER_ERROR,
    500: ErrorKind.SERVER_ERROR,
    502: ErrorKind.SERVER_ERROR,
    503: ErrorKind.OVERLOADED,
    504: ErrorKind.TIMEOUT,
    529: ErrorKind.SERVER_ERROR,
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_means_the_same_everywhere(upstream: Upstream, status: int) -> None:
    received = upstream.ask(Fault.status(status))
    assert received.error is not None
    assert (received.error.kind, received.error.status_code) == (STATUSES[status], status)
    assert received.error.provider == upstream.name
    assert str(status) in str(received.error)
    assert upstream.server.requests.count(upstream.name) == 1


def test_groq_s_own_status_for_no_capacity_is_known(groq: Upstream) -> None:
    assert groq.ask(Fault.status(498)).kind is ErrorKind.OVERLOADED


def test_a_prompt_over_groq_s_limit_of_a_minute_is_too_long_not_too_early(groq: Upstream) -> None:
    error = {"message": "Request too large: tokens per minute", "type": "tokens", "code": "rate_limit_exceeded"}
    received = groq.ask(Fault.body(json.dumps({"error": error}).encode(), status=413))
    assert received.kind is ErrorKind.CONTEXT_TOO_LONG


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (Fault.bad_key(), "API_KEY"),
        (Fault.status(401), "API_KEY"),
        (Fault.status(403), "API_KEY"),
        (Fault.status(404), "MODEL"),
        (Fault.body(b"Not found", status=404), "API_URL"),
        (Fault.redirect(), "API_URL"),
        (Fault.body(b"<html>Log in to the hotel</html>"), "API_URL"),
    ],
)
def test_the_message_names_the_setting_that_mends_it(upstream: Upstream, fault: Behaviour, what: str) -> None:
    assert upstream.setting(what) in str(upstream.ask(fault).error)


def test_the_message_says_what_the_provider_said_and_no_more_than_a_person_reads(upstream: Upstream) -> None:
    assert "Ask again on Tuesday." in str(upstream.ask(Fault.status(503, message="Ask again on Tuesday.")).error)
    assert len(str(upstream.ask(Fault.status(503, message="blah " * 50_000)).error)) < 1_000


def test_a_refused_key_is_an_authentication_failure_whatever_the_status(upstream: Upstream) -> None:
    error = upstream.ask(Fault.bad_key()).error
    assert error is not None
    assert (error.kind, error.status_code) == (
        ErrorKind.AUTHENTICATION,
        {"groq": 401, "gemini": 400}[upstream.name],
    )


def test_a_prompt_that_is_too_long_is_told_from_a_bad_request(upstream: Upstream) -> None:
    received = upstream.ask(Fault.context_too_long())
    assert (received.kind, received.error and received.error.status_code) == (ErrorKind.CONTEXT_TOO_LONG, 400)


@pytest.mark.parametrize("fault", [Fault.blocked(), Reply("", finish="safety")])
def test_a_refusal_to_speak_is_no_empty_answer(upstream: Upstream, fault: Behaviour) -> None:
    received = upstream.ask(fault)
    assert (received.kind, received.text, received.finish_reason) == (ErrorKind.CONTENT_BLOCKED, "", None)


def test_a_refusal_in_mid_answer_is_no_end_of_it(upstream: Upstream) -> None:
    received = upstream.ask(Reply("It is made of", finish="safety"))
    assert (received.kind, received.text, received.finish_reason) == (
        ErrorKind.CONTENT_BLOCKED,
        "It is made of",
        None,
    )


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_cut_before_the_headers_is_a_connection_failure(upstream: Upstream, how: Any) -> None:
    received = upstream.ask(Fault.cut(None, how))
    assert (received.kind, received.text) == (ErrorKind.CONNECTION, "")
    assert upstream.server.requests.count(upstream.name) == 1


@pytest.mark.parametrize("how", ["fin", "rst", "clean"])
@pytest.mark.parametrize("after", [0, 2])
def test_a_cut_answer_is_interrupted_and_keeps_its_text(upstream: Upstream, how: Any, after: int) -> None:
    received = upstream.ask(Fault.cut(after, how))
    assert (received.kind, received.finish_reason) == (ErrorKind.INTERRUPTED, None)
    # A reset throws away what the client has not read yet.
    assert received.text == "one two "[: 4 * after] or how == "rst"


def test_an_end_without_a_finish_reason_is_a_cut(upstream: Upstream) -> None:
    received = upstream.ask(Reply("It was a dark and", finish=None, done=False))
    assert (received.kind, received.text) == (ErrorKind.INTERRUPTED, "It was a dark and")


def test_nothing_at_all_is_a_cut(upstream: Upstream) -> None:
    assert upstream.ask(Reply("", finish=None, usage=None, done=False)).kind is ErrorKind.INTERRUPTED


@pytest.mark.parametrize("after", [0, 2])
def test_json_that_is_none_is_a_malformed_response(upstream: Upstream, after: int) -> None:
    received = upstream.ask(Fault.malformed_json(after))
    assert (received.kind, received.text) == (ErrorKind.MALFORMED_RESPONSE, "one two "[: 4 * after])


@pytest.mark.parametrize("after", [0, 2])
def test_lines_that_are_no_events_are_no_answer(upstream: Upstream, after: int) -> None:
    received = upstream.ask(Fault.malformed_stream(after))
    assert received.kind in (ErrorKind.INTERRUPTED, ErrorKind.MALFORMED_RESPONSE)
    assert received.text == "one two "[: 4 * after]


@pytest.mark.parametrize("event", [b"[]", b"5", b"null", b'"text"', b"[" * 100_000], ids=lambda event: event[:6])
def test_json_of_another_shape_is_a_malformed_response(upstream: Upstream, event: bytes) -> None:
    body = b"data: " + event + b"\n\n"
    assert upstream.ask(Fault.body(body, content_type="text/event-stream")).kind is ErrorKind.MALFORMED_RESPONSE


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_error_inside_the_stream_is_an_error(upstream: Upstream, after: int, status: int) -> None:
    received = upstream.ask(Fault.error_event(status, after=after, message="It broke."))
    kinds = {500: ErrorKind.SERVER_ERROR, 503: ErrorKind.OVERLOADED, 429: ErrorKind.RATE_LIMITED}
    if upstream.name == "groq":
        kinds[503] = ErrorKind.SERVER_ERROR  # nothing in the event tells the two apart
    assert (received.kind, received.text) == (kinds[status], "one two "[: 4 * after])
    assert "It broke." in str(received.error)


def test_groq_s_other_place_for_an_error_is_read_too(groq: Upstream) -> None:
    received = groq.ask(Fault.error_event(500, after=2, where="x_groq", message="It broke."))
    assert (received.kind, received.text) == (ErrorKind.SERVER_ERROR, "one two ")
    assert "It broke." in str(received.error)


def test_a_web_page_is_no_answer(upstream: Upstream) -> None:
    received = upstream.ask(Fault.body(b"<html><p>data: Log in</p></html>", content_type="text/html; charset=utf-8"))
    assert received.kind is ErrorKind.MALFORMED_RESPONSE


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(upstream: Upstream, status: int) -> None:
    with FaultServer() as elsewhere:
        received = upstream.ask(Fault.redirect(elsewhere.groq_url, status))
        assert (len(elsewhere.requests), len(upstream.server.requests)) == (0, 1)
    assert received.error is not None
    assert received.error.status_code == status
    assert upstream.setting("API_URL") in str(received.error)


def test_another_protocol_is_a_connection_failure(upstream: Upstream) -> None:
    assert upstream.ask(Fault.not_http()).kind is ErrorKind.CONNECTION


@pytest.mark.parametrize("backend", OVER_HTTP)
def test_a_refused_connection_is_told_at_once(backend: str, faults: FaultServer) -> None:
    with refusing_url() as url:
        received = Upstream(backend, faults, url).ask()
    assert received.kind is ErrorKind.CONNECTION
    assert received.seconds < PATIENT.connect / 2


@pytest.mark.parametrize(
    ("timeouts", "setting"),
    [
        (Timeouts(connect=0.3, first_token=10, idle=10, total=10), "CONNECT_TIMEOUT"),
        (Timeouts(connect=10, first_token=0.3, idle=10, total=10), "FIRST_TOKEN_TIMEOUT"),
        (Timeouts(connect=10, first_token=10, idle=10, total=0.3), "TOTAL_TIMEOUT"),
    ],
)
def test_a_connection_that_never_comes_about_is_a_timeout(
    faults: FaultServer, timeouts: Timeouts, setting: str
) -> None:
    with unreachable_url() as url:
        everything = ask_all(faults, timeouts, url)
    for backend, received in everything.items():
        assert received.kind is ErrorKind.TIMEOUT, backend
        assert setting in str(received.error), backend
        assert received.seconds < 4, backend


def test_a_line_without_an_end_is_refused(upstream: Upstream) -> None:
    received = upstream.ask(Fault.flood("line"))
    assert received.kind is ErrorKind.MALFORMED_RESPONSE
    upstream.server.wait_for("disconnected", upstream.name)


def test_an_error_page_without_an_end_is_not_read_to_its_end(upstream: Upstream) -> None:
    received = upstream.ask(Fault.flood("line", status=500))
    assert (received.kind, received.error and received.error.status_code) == (ErrorKind.SERVER_ERROR, 500)
    upstream.server.wait_for("disconnected", upstream.name)


@pytest.mark.parametrize(
    "model", ["../models/other", "m?key=1", "m:countTokens?", "a/b", "m#", " ", "модель", "\ud800"]
)
@pytest.mark.parametrize("backend", ["gemini sdk", "gemini rest"])
def test_a_model_id_cannot_change_the_address(backend: str, model: str, faults: FaultServer) -> None:
    upstream = Upstream(backend, faults)
    assert upstream.ask(model=model).kind is ErrorKind.MODEL_NOT_FOUND
    assert len(faults.requests) == 0
    assert upstream.ask(model="models/gemini-3.5-flash").error is None
    assert faults.requests.last("gemini").model == "gemini-3.5-flash"


def test_what_the_library_cannot_express_is_a_bad_request(faults: FaultServer) -> None:
    assert Upstream("gemini sdk", faults).ask(max_tokens=2**40).kind is ErrorKind.BAD_REQUEST
    assert len(faults.requests) == 0

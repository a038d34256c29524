"""Which provider answers, what the answer tells about the others, and what happens when it breaks off."""

from __future__ import annotations

import time
from typing import Any

import pytest

from router import (
    AllProvidersFailed,
    Answer,
    BadRequest,
    NotConfigured,
    ProviderError,
    Router,
    RouterError,
    StreamInterrupted,
)
from router.itinerary import MAX_RETRIES
from router.lifeline import Timeouts
from router.types import Status
from tests.faults.behaviours import Behaviour, Reply
from tests.faults.faults import Fault
from tests.routing import GEMINI_MODEL, GROQ_MODEL, Routing, trail

OK = ("gemini", "ok", None, None)


def ask(router: Router, how: str, **options: Any) -> Answer:
    """By `chat`, or by `stream` read to its end."""
    if how == "chat":
        return router.chat("Explain gravity.", **options)
    with router.stream("Explain gravity.", **options) as stream:
        text = "".join(stream)
    assert text == stream.answer.text
    return stream.answer


def failure(router: Router, how: str, **options: Any) -> RouterError:
    with pytest.raises(RouterError) as caught:
        ask(router, how, **options)
    return caught.value


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_the_first_choice_answers_when_it_can(routing: Routing, how: str) -> None:
    routing.faults.script("groq", Reply("Things fall.", usage=(100, 10)))
    answer = ask(routing(), how, model="groq")
    assert (answer.text, answer.status, answer.finish_reason) == ("Things fall.", "ok", "stop")
    assert (answer.provider, answer.model, answer.requested_model) == ("groq", GROQ_MODEL, "groq")
    assert trail(answer.attempts) == [("groq", "ok", None, None)]
    assert answer.ttft_ms is not None
    assert 0 < answer.ttft_ms <= answer.latency_ms
    assert 0 < answer.attempts[0].latency_ms <= answer.latency_ms
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (100, 10, 110)
    assert routing.sent() == (1, 0)
    row = routing.log.row
    assert row.answer() == answer
    assert (row.prompt, row.token_count, row.token_source, row.error) == ("Explain gravity.", 110, "provider", None)


@pytest.mark.parametrize("how", ["chat", "stream"])
@pytest.mark.parametrize(
    ("fault", "kind", "status_code"),
    [
        (Fault.bad_key(), "authentication", 401),
        (Fault.status(404), "model_not_found", 404),
        (Fault.context_too_long(), "context_too_long", 400),
        (Fault.blocked(), "content_blocked", None),
        (Fault.status(429, retry_after="60"), "rate_limited", 429),
        (Fault.status(503), "overloaded", 503),
        (Fault.status(500), "server_error", 500),
        (Fault.status(502), "server_error", 502),
        (Fault.error_event(500), "server_error", None),
        (Fault.cut(None), "connection", None),
        (Fault.cut(0), "interrupted", None),
        (Reply("", finish=None, done=False), "interrupted", None),
        (Fault.malformed_json(), "malformed_response", None),
        (Fault.body(b"<html>Log in</html>"), "malformed_response", None),
        (Fault.body(b'data: {"choices": 5}\n\n', content_type="text/event-stream"), "malformed_response", None),
        (Fault.redirect(), "model_not_found", 302),
    ],
)
def test_a_failure_before_content_goes_on_with_one_request(
    routing: Routing, how: str, fault: Behaviour, kind: str, status_code: int | None
) -> None:
    routing.faults.script("groq", fault)
    routing.faults.script("gemini", Reply("Masses attract."))
    answer = ask(routing(), how)
    assert (answer.text, answer.status) == ("Masses attract.", "fallback")
    assert (answer.provider, answer.model, answer.requested_model) == ("gemini", GEMINI_MODEL, "groq")
    assert trail(answer.attempts) == [("groq", "failed", kind, status_code), OK]
    assert answer.attempts[0].message
    assert routing.sent() == (1, 1)
    assert routing.log.row.status == "fallback"
    assert [attempt["kind"] for attempt in routing.log.row.attempts] == [kind, None]


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_a_hang_costs_its_deadline_once(routing: Routing, how: str) -> None:
    routing.faults.script("groq", Fault.hang())
    started = time.monotonic()
    answer = ask(routing(timeouts=Timeouts(first_token=1)), how)
    assert time.monotonic() - started < 4
    assert trail(answer.attempts) == [("groq", "failed", "timeout", None), OK]
    assert answer.attempts[0].latency_ms >= 900
    assert "FIRST_TOKEN_TIMEOUT" in str(answer.attempts[0].message)
    assert routing.sent() == (1, 1)


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_a_provider_that_is_not_configured_is_passed_over(routing: Routing, how: str) -> None:
    answer = ask(routing(groq_api_key=None), how, model="groq")
    assert (answer.status, answer.provider) == ("fallback", "gemini")
    assert trail(answer.attempts) == [("groq", "skipped", "not_configured", None), OK]
    assert "GROQ_API_KEY" in str(answer.attempts[0].message)
    assert answer.attempts[0].latency_ms == 0
    assert routing.sent() == (0, 1)


def test_gemini_falls_back_to_groq(routing: Routing) -> None:
    routing.faults.script("gemini", Fault.status(429))
    answer = ask(routing(), "chat", model="gemini:gemini-3.5-flash")
    assert (answer.provider, answer.model, answer.status) == ("groq", GROQ_MODEL, "fallback")
    assert answer.requested_model == "gemini:gemini-3.5-flash"
    assert answer.attempts[0].model == "gemini-3.5-flash"


def test_the_order_of_taking_over_is_a_setting(routing: Routing) -> None:
    router = routing(groq_api_key=None, fallback=())
    assert isinstance(failure(router, "chat"), NotConfigured)
    assert ask(routing(groq_api_key=None, fallback=("gemini",)), "chat").provider == "gemini"


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_with_nobody_configured_the_error_names_both_and_what_to_set(routing: Routing, how: str) -> None:
    error = failure(routing(groq_api_key=None, gemini_api_key=None), how)
    assert isinstance(error, AllProvidersFailed)
    for word in ("groq", "gemini", "GROQ_API_KEY", "GEMINI_API_KEY"):
        assert word in str(error)
    assert {(attempt.outcome, attempt.kind) for attempt in error.attempts} == {("skipped", "not_configured")}
    row = routing.log.row
    assert (row.prompt_id, row.status, row.error, row.response) == (error.prompt_id, "error", str(error), "")
    assert routing.sent() == (0, 0)


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_when_everybody_fails_the_error_says_who_and_why(routing: Routing, how: str) -> None:
    routing.faults.script("groq", Fault.bad_key("Wrong key."))
    routing.faults.script("gemini", Fault.status(404, message="No such model."))
    error = failure(routing(), how)
    assert isinstance(error, AllProvidersFailed)
    assert "Wrong key." in str(error)
    assert "No such model." in str(error)
    assert trail(error.attempts) == [
        ("groq", "failed", "authentication", 401),
        ("gemini", "failed", "model_not_found", 404),
    ]
    assert routing.log.row.status == "error"
    assert len(routing.log.row.attempts) == 2
    assert routing.sent() == (1, 1)


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_without_fallback_the_provider_s_own_error_comes_out(routing: Routing, how: str) -> None:
    routing.faults.script("groq", Fault.status(403))
    error = failure(routing(), how, fallback=False)
    assert isinstance(error, ProviderError)
    assert (error.provider, error.kind, error.status_code) == ("groq", "authentication", 403)
    assert trail(error.attempts) == [("groq", "failed", "authentication", 403)]
    assert routing.sent() == (1, 0)
    assert (routing.log.row.status, routing.log.row.params) == ("error", {"fallback": False})
    unconfigured = failure(routing(groq_api_key=None), how, fallback=False)
    assert isinstance(unconfigured, NotConfigured)
    assert unconfigured.setting == "GROQ_API_KEY"


@pytest.mark.parametrize("how", ["chat", "stream"])
@pytest.mark.parametrize("status", [400, 422])
def test_a_bad_request_is_sent_nowhere_else(routing: Routing, how: str, status: int) -> None:
    routing.faults.script("groq", Fault.status(status, message="No such parameter."))
    error = failure(routing(), how)
    assert isinstance(error, BadRequest)
    assert "GROQ" in str(error)
    assert "No such parameter." in str(error)
    assert trail(error.attempts) == [("groq", "failed", "bad_request", status)]
    assert routing.sent() == (1, 0)
    assert routing.log.row.status == "error"


@pytest.mark.parametrize(
    "fault",
    [Fault.cut(2), Fault.cut(2, "clean"), Fault.error_event(500, after=2), Fault.malformed_json(2), Fault.hang(2)],
)
def test_what_was_shown_stays_and_nothing_replaces_it(routing: Routing, fault: Behaviour) -> None:
    routing.faults.script("groq", fault)
    pieces: list[str] = []
    with routing(timeouts=Timeouts(idle=0.3)).stream("Explain gravity.") as stream:
        with pytest.raises(StreamInterrupted) as caught:
            pieces.extend(stream)
        with pytest.raises(StopIteration):
            next(stream)
    assert pieces == ["one ", "two "]
    assert (caught.value.text, caught.value.provider, caught.value.kind) == ("one two ", "groq", "interrupted")
    assert (stream.answer.status, stream.answer.text, stream.answer.provider) == ("interrupted", "one two ", "groq")
    assert [attempt.outcome for attempt in stream.answer.attempts] == ["interrupted"]
    assert caught.value.attempts == stream.answer.attempts
    assert routing.sent() == (1, 0)
    row = routing.log.row
    assert (row.status, row.response, row.prompt_id) == ("interrupted", "one two ", caught.value.prompt_id)
    assert row.error == str(caught.value)


def test_a_call_whose_answer_breaks_off_gets_another_one(routing: Routing) -> None:
    routing.faults.script("groq", Fault.cut(2))
    routing.faults.script("gemini", Reply("Masses attract."))
    answer = routing().chat("Explain gravity.")
    assert (answer.text, answer.status) == ("Masses attract.", "fallback")
    assert trail(answer.attempts) == [("groq", "interrupted", "interrupted", None), OK]


@pytest.mark.parametrize("gemini", [Fault.status(404), Fault.status(400), None])
def test_a_call_whose_answer_breaks_off_for_good_keeps_what_there_is(
    routing: Routing, gemini: Behaviour | None
) -> None:
    routing.faults.script("groq", Fault.cut(2))
    if gemini:
        routing.faults.script("gemini", gemini)
    error = failure(routing() if gemini else routing(gemini_api_key=None), "chat")
    assert isinstance(error, StreamInterrupted)
    # Without another provider, GROQ itself is asked twice more.
    attempts = 2 if gemini else 1 + MAX_RETRIES + 1
    assert (error.text, error.provider, len(error.attempts)) == ("one two ", "groq", attempts)
    row = routing.log.row
    assert (row.status, row.response, row.provider, row.model) == ("interrupted", "one two ", "groq", GROQ_MODEL)


def statuses(router: Router, model: str, times: int) -> list[Status]:
    return [ask(router, "chat", model=model, max_tokens=2).status for _ in range(times)]


def test_the_flaky_demo_falls_back_to_the_steady_one(routing: Routing) -> None:
    router = routing()
    assert statuses(router, "demo:flaky", 3) == ["ok", "ok", "fallback"]
    row = routing.log.rows[-1]
    assert (row.provider, row.model, row.requested_model) == ("demo", "demo", "demo:flaky")
    assert [attempt["outcome"] for attempt in row.attempts] == ["failed", "ok"]


def test_the_cut_demo_is_interrupted(routing: Routing) -> None:
    with routing().stream("Explain gravity.", model="demo:cut") as stream, pytest.raises(StreamInterrupted):
        list(stream)
    assert stream.answer.status == "interrupted"
    assert stream.answer.text


def test_the_demo_never_takes_over(routing: Routing) -> None:
    error = failure(routing(groq_api_key=None, gemini_api_key=None), "chat")
    assert [attempt.provider for attempt in error.attempts] == ["groq", "gemini"]
    assert ask(routing(groq_api_key=None, gemini_api_key=None), "chat", model="demo", max_tokens=2).provider == "demo"
    assert routing.sent() == (0, 0)

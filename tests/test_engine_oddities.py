"""What a provider may send besides a good answer or a plain failure, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from router import Answer, ProviderError, Router, RouterError
from router.cooldown import FAILURES_IN_A_ROW, Cooldowns
from router.errors import ErrorKind
from router.itinerary import MAX_RETRIES, Itinerary, Route
from router.lifeline import Lifeline, Timeouts
from router.types import Delta, Usage
from tests.faults.faults import Fault
from tests.routing import GEMINI_KEY, Routing
from tests.scripted import Scripted


def router_with(routing: Routing, *events: str | Delta | BaseException) -> Router:
    """A router whose GROQ says this."""
    router = routing()
    providers = {"groq": Scripted(*events), "gemini": router.providers["gemini"]}
    return Router(router.settings, providers=providers, log=routing.log)


def ask(router: Router, how: str) -> Answer:
    """By `chat`, or by `stream` read to its end."""
    if how == "chat":
        return router.chat("Hello?")
    with router.stream("Hello?") as stream:
        list(stream)
    return stream.answer


@pytest.mark.parametrize("provider", ["groq", "gemini"])
def test_an_error_can_be_written_down_whatever_the_provider_said(routing: Routing, provider: str) -> None:
    routing.faults.script(provider, Fault.status(403, message="No \ud83d, no\0 way."))
    with pytest.raises(ProviderError, match="No \ufffd, no\ufffd way") as caught:
        routing().chat("Hello?", model=provider, fallback=False)
    for text in (str(caught.value), caught.value.attempts[0].message, routing.log.row.error):
        assert str(text).encode().decode() == text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("length", "length"),
        (f"odd \ud83d {GEMINI_KEY}", "odd \ufffd [secure]"),
        ("x" * 100, "x" * 100),
        ("x" * 101, None),
        (5, None),
        (["stop"], None),
    ],
)
def test_a_finish_reason_is_a_short_text_that_can_be_written_down(
    routing: Routing, said: Any, kept: str | None
) -> None:
    answer = router_with(routing, "All of it.", Delta(finish_reason=said)).chat("Hello?")
    assert (answer.status, answer.text) == ("ok", "All of it.")
    assert answer.finish_reason == routing.log.row.finish_reason == kept


@pytest.mark.parametrize("how", ["chat", "stream"])
@pytest.mark.parametrize("kind", [ErrorKind.INTERRUPTED, ErrorKind.CONNECTION, ErrorKind.TIMEOUT])
def test_an_answer_that_is_cut_after_its_finish_reason_is_complete(routing: Routing, how: str, kind: ErrorKind) -> None:
    cut = ProviderError("groq", kind, "the answer was cut off")
    router = router_with(routing, "All ", "of it.", Delta(finish_reason="stop"), cut)
    for _ in range(FAILURES_IN_A_ROW):
        answer = ask(router, how)
        assert (answer.status, answer.text, answer.finish_reason) == ("ok", "All of it.", "stop")
        assert [attempt.outcome for attempt in answer.attempts] == ["ok"]
        assert answer.usage.source != "provider"
        assert answer.usage.completion_tokens > 0
    assert router.cooling() == []
    assert routing.sent() == (0, 0)


def test_usage_that_came_before_the_cut_counts(routing: Routing) -> None:
    usage, cut = Usage(11, 7, "provider"), ProviderError("groq", ErrorKind.INTERRUPTED, "the answer was cut off")
    assert router_with(routing, "Hi.", Delta(usage=usage, finish_reason="stop"), cut).chat("Hello?").usage == usage


@pytest.mark.parametrize("kind", [ErrorKind.SERVER_ERROR, ErrorKind.CONTENT_BLOCKED, ErrorKind.MALFORMED_RESPONSE])
def test_an_error_after_the_finish_reason_remains_one(routing: Routing, kind: ErrorKind) -> None:
    router = router_with(routing, "Half", Delta(finish_reason="stop"), ProviderError("groq", kind, "it broke"))
    assert router.chat("Hello?").status == "fallback"
    assert routing.log.row.attempts[0]["kind"] == kind


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_an_error_that_is_not_about_the_provider_ends_the_request(routing: Routing, how: str) -> None:
    router = router_with(routing, RouterError("This router is closed."))
    with pytest.raises(RouterError, match="closed") as caught:
        ask(router, how)
    assert type(caught.value) is RouterError
    assert [attempt.outcome for attempt in caught.value.attempts] == ["failed"]
    assert caught.value.prompt_id == routing.log.row.prompt_id
    assert (routing.log.row.status, routing.log.row.error) == ("error", "This router is closed.")
    assert routing.sent() == (0, 0)
    assert router.cooling() == []


def test_requests_that_were_told_to_wait_as_long_do_not_come_back_together() -> None:
    def pauses() -> list[float]:
        route = Route(Scripted(), "m")
        itinerary = Itinerary((route,), Cooldowns(), Lifeline(Timeouts()), lambda *_: None)
        found = []
        for stop in itinerary:
            found.append(stop.pause_s)
            itinerary.failed(route, ProviderError("groq", ErrorKind.RATE_LIMITED, "slow down", retry_after=2.0))
        return found

    for together in list(zip(*(pauses() for _ in range(50)), strict=True))[1:]:
        assert min(together) >= 2
        assert len(set(together)) == 50
    assert len(pauses()) == 1 + MAX_RETRIES

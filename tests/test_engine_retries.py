"""Retries of the last one standing, cooldowns and budgets, through a router and the fault server."""

from __future__ import annotations

import threading

import pytest

from router import AllProvidersFailed, BudgetExceeded, ProviderError
from router.cooldown import FAILURES_IN_A_ROW, LONGEST_RETRY_AFTER_S
from router.itinerary import MAX_RETRIES
from router.lifeline import Timeouts
from tests.faults.behaviours import Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.routing import GEMINI_MODEL, GROQ_MODEL, Routing


@pytest.mark.parametrize(
    "fault",
    [Fault.status(429), Fault.status(500), Fault.status(503), Fault.cut(None), Fault.cut(0), Fault.error_event()],
)
def test_the_last_one_standing_is_asked_again_and_may_recover(routing: Routing, faults: FaultServer, fault) -> None:
    faults.script("groq", fault, Reply("Better now."))
    answer = routing(gemini_api_key=None).chat("Hello?")
    assert answer.text == "Better now."
    assert answer.status == "ok"
    assert [attempt.outcome for attempt in answer.attempts] == ["failed", "ok"]


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        (Fault.status(500), 1 + MAX_RETRIES),
        (Fault.bad_key(), 1),
        (Fault.status(404), 1),
        (Fault.context_too_long(), 1),
        (Fault.blocked(), 1),
    ],
)
def test_only_failures_that_pass_are_worth_another_request(
    routing: Routing, faults: FaultServer, fault, requests: int
) -> None:
    faults.script("groq", fault)
    with pytest.raises(ProviderError):
        routing().chat("Hello?", fallback=False)
    assert faults.requests.count("groq") == requests


def test_a_hang_costs_its_deadline_once(routing: Routing, faults: FaultServer) -> None:
    faults.script("groq", Fault.hang(None))
    router = routing(timeouts=Timeouts(connect=5, first_token=0.3, idle=5, total=20))
    with pytest.raises(ProviderError):
        router.chat("Hello?", fallback=False)
    assert faults.requests.count("groq") == 1


def test_while_another_provider_remains_nothing_is_asked_twice(routing: Routing, faults: FaultServer) -> None:
    faults.script("groq", Fault.status(503))
    answer = routing().chat("Hello?")
    assert answer.status == "fallback"
    assert faults.requests.count("groq") == 1


@pytest.mark.parametrize("asked", ["47", "1" + "0" * 30])
def test_a_provider_that_asks_for_more_time_than_is_left_is_not_waited_for(
    routing: Routing, faults: FaultServer, asked: str
) -> None:
    faults.script("groq", Fault.status(429, retry_after=asked))
    router = routing()
    with pytest.raises(ProviderError) as error:
        router.chat("Hello?", fallback=False)
    assert error.value.retry_after == float(asked)
    assert faults.requests.count("groq") == 1
    assert 0 < router.cooling()[0].seconds_left <= min(float(asked), LONGEST_RETRY_AFTER_S)


def test_a_wait_without_an_end_is_no_wait(routing: Routing, faults: FaultServer) -> None:
    faults.script("groq", Fault.status(429, retry_after="1e999"), Reply("Better now."))
    assert routing().chat("Hello?", fallback=False).text == "Better now."


def test_the_wait_between_two_attempts_can_be_stopped(routing: Routing, faults: FaultServer) -> None:
    faults.script("groq", Fault.status(429, retry_after="15"))
    stream = routing().stream("Hello?", fallback=False)
    reading = threading.Thread(target=lambda: list(stream))
    reading.start()
    faults.wait_for("finished", "groq")
    stream.close()
    reading.join(5)
    assert not reading.is_alive()
    assert stream.answer.status == "stopped"
    assert faults.requests.count("groq") == 1


def test_a_model_that_said_when_to_come_back_is_passed_over_with_the_reason(
    routing: Routing, faults: FaultServer
) -> None:
    faults.script("groq", Fault.status(429, retry_after="30"))
    router = routing()
    router.chat("Hello?")
    answer = router.chat("Hello again?")
    assert faults.requests.count("groq") == 1
    skipped = answer.attempts[0]
    assert (skipped.outcome, skipped.kind) == ("skipped", "rate_limited")
    assert "passed over for 30 s" in skipped.message
    (cooling,) = router.cooling()
    assert (cooling.provider, cooling.model) == ("groq", GROQ_MODEL)
    assert router.health()["cooling"][0]["model"] == GROQ_MODEL


def test_a_model_that_failed_repeatedly_is_passed_over(routing: Routing, faults: FaultServer) -> None:
    faults.script("groq", Fault.status(500))
    router = routing()
    for _ in range(FAILURES_IN_A_ROW + 2):
        assert router.chat("Hello?").provider == "gemini"
    assert faults.requests.count("groq") == FAILURES_IN_A_ROW


def test_when_every_model_cools_down_the_one_due_first_is_tried_anyway(routing: Routing, faults: FaultServer) -> None:
    faults.script("groq", Fault.status(429, retry_after="60"))
    faults.script("gemini", Fault.status(429, retry_after="30"), Reply("Early, but here."))
    router = routing()
    with pytest.raises(AllProvidersFailed):
        router.chat("Hello?")
    answer = router.chat("Hello again?")
    assert answer.text == "Early, but here."
    assert (answer.provider, answer.model) == ("gemini", GEMINI_MODEL)
    assert faults.requests.count("groq") == 1


def test_over_a_budget_nothing_is_sent(routing: Routing, faults: FaultServer) -> None:
    router = routing(max_requests_per_minute=2)
    router.chat("One?")
    router.chat("Two?")
    with pytest.raises(BudgetExceeded, match="MAX_REQUESTS_PER_MINUTE"):
        router.chat("Three?")
    assert faults.requests.count("groq") == 2


def test_what_was_spent_today_counts(routing: Routing, faults: FaultServer) -> None:
    faults.script("groq", Reply("Expensive.", usage=(1_000_000, 1_000_000)))
    settings = {"max_cost_per_day_usd": 0.3}
    router = routing(**settings)
    assert router.chat("One?").cost_usd == pytest.approx(0.375)
    with pytest.raises(BudgetExceeded, match="MAX_COST_PER_DAY_USD"):
        router.chat("Two?")
    assert faults.requests.count("groq") == 1

from __future__ import annotations

import pytest

from router.cooldown import (
    FAILURES_IN_A_ROW,
    FIRST_COOLDOWN_S,
    LONGEST_COOLDOWN_S,
    LONGEST_PROBE_S,
    LONGEST_RETRY_AFTER_S,
    Cooldowns,
)
from router.errors import ErrorKind, ProviderError

KEY = ("groq", "openai/gpt-oss-20b")
ONE, ANOTHER = object(), object()
"""Requests."""


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cooldowns(clock: Clock) -> Cooldowns:
    return Cooldowns(clock)


def failure(kind: ErrorKind = ErrorKind.SERVER_ERROR, retry_after: float | None = None) -> ProviderError:
    return ProviderError("groq", kind, "it failed", retry_after=retry_after)


def fail(cooldowns: Cooldowns, times: int = FAILURES_IN_A_ROW) -> None:
    for _ in range(times):
        cooldowns.failed(KEY, failure())


def test_a_model_is_tried_until_it_has_failed_repeatedly(cooldowns: Cooldowns) -> None:
    fail(cooldowns, FAILURES_IN_A_ROW - 1)
    assert cooldowns.claim(KEY, ONE) is None
    fail(cooldowns, 1)
    cooling = cooldowns.claim(KEY, ONE)
    assert cooling is not None
    assert cooling.seconds_left == FIRST_COOLDOWN_S
    assert cooling.reason == "it failed"


def test_a_success_in_between_forgets_the_failures(cooldowns: Cooldowns) -> None:
    fail(cooldowns, FAILURES_IN_A_ROW - 1)
    cooldowns.succeeded(KEY)
    fail(cooldowns, FAILURES_IN_A_ROW - 1)
    assert cooldowns.claim(KEY, ONE) is None


def test_a_model_that_says_when_to_come_back_is_left_alone_until_then(cooldowns: Cooldowns, clock: Clock) -> None:
    cooldowns.failed(KEY, failure(ErrorKind.RATE_LIMITED, retry_after=30))
    clock.now += 29
    assert cooldowns.claim(KEY, ONE) is not None
    clock.now += 1
    assert cooldowns.claim(KEY, ONE) is None


@pytest.mark.parametrize(("asked", "kept"), [(0, 0), (1e30, LONGEST_RETRY_AFTER_S)])
def test_an_absurd_wish_is_bounded(cooldowns: Cooldowns, asked: float, kept: float) -> None:
    cooldowns.failed(KEY, failure(ErrorKind.RATE_LIMITED, retry_after=asked))
    assert sum(cooling.seconds_left for cooling in cooldowns.cooling()) == kept


def test_one_probe_at_a_time_brings_it_back(cooldowns: Cooldowns, clock: Clock) -> None:
    fail(cooldowns)
    clock.now += FIRST_COOLDOWN_S
    assert cooldowns.claim(KEY, ONE) is None
    assert cooldowns.claim(KEY, ANOTHER) is not None
    cooldowns.succeeded(KEY)
    assert cooldowns.claim(KEY, ONE) is None
    assert cooldowns.claim(KEY, ANOTHER) is None


def test_a_probe_that_was_stopped_makes_room_for_another(cooldowns: Cooldowns, clock: Clock) -> None:
    fail(cooldowns)
    clock.now += FIRST_COOLDOWN_S
    assert cooldowns.claim(KEY, ONE) is None
    cooldowns.released(KEY, ONE)
    assert cooldowns.claim(KEY, ANOTHER) is None


def test_a_probe_is_freed_by_its_own_request_only(cooldowns: Cooldowns, clock: Clock) -> None:
    fail(cooldowns)
    clock.now += FIRST_COOLDOWN_S
    assert cooldowns.claim(KEY, ONE) is None
    cooldowns.released(KEY, ANOTHER)
    assert cooldowns.claim(KEY, ANOTHER) is not None


def test_a_probe_that_never_ends_keeps_the_others_away_for_a_while_and_says_so(
    cooldowns: Cooldowns, clock: Clock
) -> None:
    fail(cooldowns)
    clock.now += FIRST_COOLDOWN_S
    assert cooldowns.claim(KEY, ONE) is None
    clock.now += LONGEST_PROBE_S - 1
    assert cooldowns.is_cooling(KEY)
    (cooling,) = cooldowns.cooling()
    assert cooling == cooldowns.claim(KEY, ANOTHER)
    assert cooling.seconds_left == 1
    assert cooling.reason == "another request is trying it again, after: it failed"
    clock.now += 1
    assert not cooldowns.is_cooling(KEY)
    assert cooldowns.cooling() == []
    assert cooldowns.claim(KEY, ANOTHER) is None


def test_a_probe_that_fails_begins_a_longer_cooldown_up_to_a_bound(cooldowns: Cooldowns, clock: Clock) -> None:
    fail(cooldowns)
    lengths = []
    for _ in range(8):
        clock.now += cooldowns.cooling()[0].seconds_left
        assert cooldowns.claim(KEY, ONE) is None
        fail(cooldowns, 1)
        cooldowns.released(KEY, ONE)
        lengths.append(cooldowns.cooling()[0].seconds_left)
    assert lengths[:3] == [2 * FIRST_COOLDOWN_S, 4 * FIRST_COOLDOWN_S, 8 * FIRST_COOLDOWN_S]
    assert lengths[-1] == LONGEST_COOLDOWN_S


@pytest.mark.parametrize(
    "kind",
    [
        ErrorKind.AUTHENTICATION,
        ErrorKind.MODEL_NOT_FOUND,
        ErrorKind.BAD_REQUEST,
        ErrorKind.CONTEXT_TOO_LONG,
        ErrorKind.CONTENT_BLOCKED,
    ],
)
def test_failures_that_are_not_the_providers_begin_none(cooldowns: Cooldowns, kind: ErrorKind) -> None:
    for _ in range(10):
        cooldowns.failed(KEY, failure(kind))
    assert cooldowns.claim(KEY, ONE) is None


def test_what_is_cooling_is_listed_with_the_one_due_first_in_front(cooldowns: Cooldowns) -> None:
    cooldowns.failed(("groq", "slow"), failure(ErrorKind.RATE_LIMITED, retry_after=60))
    cooldowns.failed(("gemini", "soon"), failure(ErrorKind.OVERLOADED, retry_after=5))
    assert [(cooling.model, cooling.kind) for cooling in cooldowns.cooling()] == [
        ("soon", ErrorKind.OVERLOADED),
        ("slow", ErrorKind.RATE_LIMITED),
    ]

from __future__ import annotations

from datetime import date

import pytest

from router.budget import Budget
from router.errors import BudgetExceeded


class Time:
    now = 0.0
    day = date(2026, 10, 1)


def budget(time: Time, cost: float | None = None, requests: int | None = None, logged: float = 0.0) -> Budget:
    return Budget(cost, requests, lambda day: logged, clock=lambda: time.now, today=lambda: time.day)


def test_requests_over_the_limit_of_a_minute_are_refused_until_the_minute_is_over() -> None:
    time = Time()
    limited = budget(time, requests=2)
    limited.admit()
    time.now = 20
    limited.admit()
    with pytest.raises(BudgetExceeded, match="MAX_REQUESTS_PER_MINUTE") as refused:
        limited.admit()
    assert refused.value.retry_after == 40
    time.now = 60
    limited.admit()


def test_a_refused_request_does_not_count() -> None:
    time = Time()
    limited = budget(time, requests=1)
    limited.admit()
    for _ in range(5):
        with pytest.raises(BudgetExceeded):
            limited.admit()
    time.now = 60
    limited.admit()


def test_the_cost_of_a_day_is_what_the_log_holds_and_what_was_spent_since() -> None:
    limited = budget(Time(), cost=1.0, logged=0.75)
    limited.admit()
    limited.spend(0.2)
    limited.admit()
    limited.spend(0.1)
    with pytest.raises(BudgetExceeded, match="MAX_COST_PER_DAY_USD"):
        limited.admit()


def test_a_new_day_begins_anew() -> None:
    time = Time()
    limited = budget(time, cost=1.0)
    limited.spend(2.0)
    with pytest.raises(BudgetExceeded):
        limited.admit()
    time.day = date(2026, 10, 2)
    limited.admit()


def test_an_unknown_cost_cannot_be_counted() -> None:
    limited = budget(Time(), cost=1.0)
    limited.spend(None)
    limited.admit()


def test_without_limits_everything_is_admitted() -> None:
    free = budget(Time())
    for _ in range(1000):
        free.admit()

"""Limits that the user sets on what may be spent and how often is asked."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime

from router.errors import BudgetExceeded


class Budget:
    """Refuses requests over MAX_COST_PER_DAY_USD or MAX_REQUESTS_PER_MINUTE. Thread-safe; a limit of None is none.

    cost_of: the US dollars that the log holds for a UTC day. It is read once a day; what this process spends is added.
    """

    def __init__(
        self,
        max_cost_per_day_usd: float | None,
        max_requests_per_minute: int | None,
        cost_of: Callable[[date], float],
        *,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._max_cost = max_cost_per_day_usd
        self._max_requests = max_requests_per_minute
        self._cost_of = cost_of
        self._clock = clock
        self._today = today
        self._lock = threading.Lock()
        self._day: date | None = None
        self._spent = 0.0
        self._asked: deque[float] = deque()

    def admit(self) -> None:
        """Count one request. Raises BudgetExceeded, which names the setting, when there is no room for it."""
        with self._lock:
            if self._max_cost is not None and self._spent_today() >= self._max_cost:
                raise BudgetExceeded(
                    "MAX_COST_PER_DAY_USD",
                    f"Today's answers have cost ${self._spent:.4g} of ${self._max_cost:g}. "
                    "Raise MAX_COST_PER_DAY_USD, or wait until midnight UTC.",
                )
            if self._max_requests is not None:
                now = self._clock()
                while self._asked and self._asked[0] <= now - 60:
                    self._asked.popleft()
                if len(self._asked) >= self._max_requests:
                    wait = self._asked[0] + 60 - now
                    raise BudgetExceeded(
                        "MAX_REQUESTS_PER_MINUTE",
                        f"{self._max_requests} requests were made within a minute. "
                        f"Try again in {wait:.0f} s, or raise MAX_REQUESTS_PER_MINUTE.",
                        retry_after=wait,
                    )
                self._asked.append(now)

    def spend(self, cost_usd: float | None) -> None:
        """Add what an answer cost. An unknown cost cannot be counted."""
        if cost_usd and self._max_cost is not None:
            with self._lock:
                self._spent_today()
                self._spent += cost_usd

    def _spent_today(self) -> float:
        today = self._today()
        if self._day != today:
            self._day, self._spent = today, self._cost_of(today)
        return self._spent

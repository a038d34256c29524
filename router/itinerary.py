"""Where a request goes next: fallback, cooldown and retries. The engine does the asking."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from router.cooldown import Cooldowns, Key
from router.errors import ErrorKind, NotConfigured, ProviderError
from router.lifeline import Lifeline
from router.providers.base import Provider

MAX_RETRIES = 2
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 8.0
RETRIED = frozenset(
    {
        ErrorKind.RATE_LIMITED,
        ErrorKind.OVERLOADED,
        ErrorKind.SERVER_ERROR,
        ErrorKind.CONNECTION,
        ErrorKind.INTERRUPTED,
    }
)
"""Failures after which the last one standing is asked again. Not a timeout: a hang costs its deadline once."""


@dataclass(frozen=True, slots=True)
class Route:
    """One place to send a request to."""

    provider: Provider
    model: str

    @property
    def key(self) -> Key:
        """What its cooldown is kept under."""
        return self.provider.name, self.model


@dataclass(frozen=True, slots=True)
class Stop:
    """The next place to ask, after a pause of so many seconds."""

    route: Route
    pause_s: float = 0.0


class Itinerary:
    """The places to ask for one request, decided one at a time, from what became of those before.

    A model that is not configured or cools down is passed over, and `passed_over` told why. While another provider
    remains, nothing is asked twice. The last one standing is asked again when its failure may pass, after the pause
    that it asked for and an exponential backoff with full jitter, as long as the request has time. When every model
    cools down, the one due first is asked all the same.

    Backoff: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    def __init__(
        self,
        routes: tuple[Route, ...],
        cooldowns: Cooldowns,
        lifeline: Lifeline,
        passed_over: Callable[[Route, NotConfigured | ProviderError], None],
    ) -> None:
        self._routes = routes
        self._cooldowns = cooldowns
        self._lifeline = lifeline
        self._passed_over = passed_over
        self._last_failure: ProviderError | None = None

    def __iter__(self) -> Iterator[Stop]:
        cooling: list[tuple[float, int]] = []
        for position, route in enumerate(self._routes):
            if self._last_failure and self._lifeline.total_remaining() <= 0:
                return
            problem = route.provider.problem()
            if problem:
                self._passed_over(route, problem)
                continue
            try:
                cool = self._cooldowns.claim(route.key, by=self)
                if cool is None:
                    yield Stop(route)
            finally:
                self._cooldowns.released(route.key, by=self)
            if cool:
                why = f"passed over for {cool.seconds_left:.0f} s more: {cool.reason}"
                self._passed_over(route, ProviderError(route.provider.name, cool.kind, why))
                cooling.append((cool.seconds_left, position))
                continue
            if not any(self._is_usable(other) for other in self._routes[position + 1 :]):
                yield from self._again(route)
        if cooling and not self._last_failure:
            due_first = self._routes[min(cooling)[1]]
            yield Stop(due_first)
            yield from self._again(due_first)

    def answered(self, route: Route) -> None:
        """It did what it was asked."""
        self._cooldowns.succeeded(route.key)

    def failed(self, route: Route, failure: ProviderError) -> None:
        """It did not, for this reason."""
        self._last_failure = failure
        if route.provider.name != "demo":  # it fails on purpose, and shall do so every time
            self._cooldowns.failed(route.key, failure)

    def _is_usable(self, route: Route) -> bool:
        return route.provider.problem() is None and not self._cooldowns.is_cooling(route.key)

    def _again(self, route: Route) -> Iterator[Stop]:
        for number in range(MAX_RETRIES):
            failure = self._last_failure
            if failure is None or failure.kind not in RETRIED:
                return
            backoff = random.uniform(0, min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2**number))
            pause = (failure.retry_after or 0.0) + backoff  # requests that were refused together come back one by one
            if pause >= self._lifeline.total_remaining():
                return
            yield Stop(route, pause)

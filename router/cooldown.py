"""Which models are passed over for now, until when and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from router.errors import ErrorKind, ProviderError

FAILURES_IN_A_ROW = 3
"""So many failures begin a cooldown; a provider that says when to come back begins one at once."""

FIRST_COOLDOWN_S = 10.0
LONGEST_COOLDOWN_S = 300.0
LONGEST_RETRY_AFTER_S = 3600.0
"""A provider that asks for more is asked again after this."""

LONGEST_PROBE_S = 30.0
"""A request that tries whether a model is back keeps the others away for no longer."""

PASSING = frozenset(
    {
        ErrorKind.RATE_LIMITED,
        ErrorKind.OVERLOADED,
        ErrorKind.SERVER_ERROR,
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECTION,
        ErrorKind.MALFORMED_RESPONSE,
        ErrorKind.INTERRUPTED,
    }
)
"""Failures that say something about the provider's state. The others are about the key, the model or the prompt."""

Key = tuple[str, str]
"""A provider's name and a model."""


@dataclass(frozen=True, slots=True)
class Cooling:
    """A model that is passed over: for how many more seconds at most, and why."""

    provider: str
    model: str
    seconds_left: float
    kind: ErrorKind
    reason: str


@dataclass(slots=True)
class _State:
    failures: int = 0
    until: float = 0.0
    kind: ErrorKind = ErrorKind.SERVER_ERROR
    reason: str = ""
    claimed_by: object = None
    claimed_until: float = 0.0


class Cooldowns:
    """What each model did lately. Thread-safe.

    A model cools down after FAILURES_IN_A_ROW passing failures, twice as long each time, or for as long as it asked.
    When the time is over one request at a time may claim it: a success ends the cooldown, a failure begins the next.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[Key, _State] = {}

    def claim(self, key: Key, by: object) -> Cooling | None:
        """Whether a request must pass this model over. None allows it; `released` by the same one follows."""
        if key not in self._states:
            return None
        with self._lock:
            state = self._states.get(key)
            if state is None or not state.until:
                return None
            now = self._clock()
            if _over_at(state) > now:
                return _cooling(key, state, now)
            state.claimed_by, state.claimed_until = by, now + LONGEST_PROBE_S
            return None

    def is_cooling(self, key: Key) -> bool:
        """Whether it is passed over just now. Claims nothing."""
        state = self._states.get(key)
        return state is not None and _over_at(state) > self._clock()

    def succeeded(self, key: Key) -> None:
        """It answered: its failures are forgotten."""
        if key in self._states:
            with self._lock:
                self._states.pop(key, None)

    def failed(self, key: Key, error: ProviderError) -> None:
        """It did not. Failures that are not the provider's leave everything as it was."""
        if error.kind not in PASSING:
            return
        with self._lock:
            state = self._states.setdefault(key, _State())
            state.failures += 1
            state.kind, state.reason = error.kind, str(error)
            seconds = 0.0
            if error.retry_after is not None:
                seconds = min(error.retry_after, LONGEST_RETRY_AFTER_S)
            elif state.failures >= FAILURES_IN_A_ROW:
                doublings = min(state.failures - FAILURES_IN_A_ROW, 10)
                seconds = min(FIRST_COOLDOWN_S * 2**doublings, LONGEST_COOLDOWN_S)
            if seconds > 0:
                state.until = max(state.until, self._clock() + seconds)

    def released(self, key: Key, by: object) -> None:
        """This request no longer tries it. Nothing happens when the claim is another's, or there is none."""
        if key in self._states:
            with self._lock:
                state = self._states.get(key)
                if state and state.claimed_by is by:
                    state.claimed_by, state.claimed_until = None, 0.0

    def cooling(self) -> list[Cooling]:
        """Every model that is passed over just now, the one due first in front."""
        with self._lock:
            now = self._clock()
            found = [_cooling(key, state, now) for key, state in self._states.items() if _over_at(state) > now]
        return sorted(found, key=lambda one: one.seconds_left)


def _over_at(state: _State) -> float:
    return max(state.until, state.claimed_until)


def _cooling(key: Key, state: _State, now: float) -> Cooling:
    claimed = state.claimed_until > max(state.until, now)
    reason = f"another request is trying it again, after: {state.reason}" if claimed else state.reason
    return Cooling(*key, _over_at(state) - now, state.kind, reason)

"""One request's deadlines and its stop button, shared by the engine, the providers and the sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first token, between tokens, and for the whole request."""

    connect: float = 5.0
    first_token: float = 20.0
    idle: float = 15.0
    total: float = 120.0


class Cancelled(Exception):
    """The caller stopped the request."""


class Lifeline:
    """Ends a request at its deadlines, or when `cancel` is called from any thread.

    Every blocking wait of a request asks `remaining()` how long it may last, and says through `attach` how to wake
    it, only for as long as it waits: `cancel` can never touch a socket that a pool has handed to someone else.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._stopped = False
        self._lock = threading.RLock()  # a signal handler may cancel in the midst of `attach`
        self._wake: Callable[[], None] | None = None
        self._total = time.monotonic() + timeouts.total
        self._due = self._total
        self._waiting_for = "total"

    def begin_attempt(self) -> None:
        """A provider starts: its first token is due within `timeouts.first_token`."""
        self._due = time.monotonic() + self.timeouts.first_token
        self._waiting_for = "first_token"

    def progress(self) -> None:
        """A token came: the next is due within `timeouts.idle`."""
        self._due = time.monotonic() + self.timeouts.idle
        self._waiting_for = "idle"

    def hurry(self, seconds: float) -> None:
        """Everything was said: what still comes is worth no more than this."""
        self._due = time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        """The caller kept the provider waiting: no deadline counts that."""
        self._due += seconds
        self._total += seconds

    def remaining(self) -> float:
        """Seconds until the nearest deadline; zero or less when it has passed. Raises Cancelled."""
        if self._stopped:
            raise Cancelled
        return min(self._due, self._total) - time.monotonic()

    def total_remaining(self) -> float:
        """Seconds until the whole request must be over."""
        return self._total - time.monotonic()

    def describe_deadline(self) -> str:
        """Which deadline is the nearest, in words that name the setting to change."""
        if self._total <= self._due:
            return f"not finished within {self.timeouts.total:g} s (TOTAL_TIMEOUT)"
        if self._waiting_for == "idle":
            return f"silent for {self.timeouts.idle:g} s in mid-answer (IDLE_TIMEOUT)"
        return f"no first token within {self.timeouts.first_token:g} s (FIRST_TOKEN_TIMEOUT)"

    def cancel(self) -> None:
        """Stop the request, and wake whatever it waits on. Safe from any thread, a signal handler, and repeatedly."""
        with self._lock:
            self._stopped = True
            wake, self._wake = self._wake, None
            if wake is not None:
                wake()

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than to the nearest deadline. Raises Cancelled when stopped meanwhile."""
        seconds = max(0.0, min(seconds, self.remaining()))
        bell = threading.Lock()  # not an Event, whose `set` hangs in a signal handler that interrupts its `wait`
        bell.acquire()
        self.attach(bell.release)
        try:
            bell.acquire(timeout=seconds)
        finally:
            self.detach()

    def pause(self, seconds: float) -> None:
        """Wait between two attempts, but no longer than the whole request may last. Raises Cancelled."""
        self._due = self._total
        self.sleep(seconds)

    def attach(self, wake: Callable[[], None]) -> None:
        """From here to `detach`, `cancel` calls `wake`, which must not block. Raises Cancelled when it is too late."""
        with self._lock:
            self._wake = wake
            if self._stopped:
                self._wake = None
                raise Cancelled

    def detach(self) -> None:
        """The wait is over: what `attach` named belongs to others from now on. Raises Cancelled when stopped."""
        with self._lock:
            self._wake = None
        if self._stopped:
            raise Cancelled

"""Which models each key may use: asked of the providers in the background, remembered, never waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from router.lifeline import Lifeline, Timeouts
from router.providers.base import Provider

FRESH_SECONDS = 600.0
RETRY_SECONDS = 60.0
_logger = logging.getLogger(__name__)


class ModelLists:
    """The ids that each provider lists, as of at most FRESH_SECONDS ago. Thread-safe."""

    def __init__(self, timeouts: Timeouts, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeouts = timeouts
        self._clock = clock
        self._lock = threading.Lock()
        self._lists: dict[str, tuple[str, ...]] = {}
        self._due: dict[str, float] = {}

    def of(self, provider: Provider) -> tuple[str, ...]:
        """What is known now: nothing at first, and while it cannot be reached what it said last."""
        with self._lock:
            now = self._clock()
            if provider.problem() is None and now >= self._due.get(provider.name, 0.0):
                self._due[provider.name] = now + RETRY_SECONDS
                threading.Thread(target=self._ask, args=(provider,), name="router-models", daemon=True).start()
            return self._lists.get(provider.name, ())

    def _ask(self, provider: Provider) -> None:
        try:
            found = provider.list_models(Lifeline(self._timeouts))
        except Exception as error:  # whatever a list may hold; frames of a provider hold its key, so only its type
            _logger.info("the models of %s could not be listed: %s", provider.label, type(error).__name__)
            return
        with self._lock:
            self._lists[provider.name] = found
            self._due[provider.name] = self._clock() + FRESH_SECONDS

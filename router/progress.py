"""How far a request has come: what was tried and what has arrived, until it makes an `Answer`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from router import catalog, tokens
from router.errors import NotConfigured, ProviderError, RouterError
from router.itinerary import Route
from router.types import Answer, Attempt, Outcome, Request, Status, Usage


@dataclass(slots=True)
class Received:
    """What one attempt has brought so far. `started` is on the monotonic clock."""

    route: Route
    started: float = field(default_factory=time.monotonic)
    parts: list[str] = field(default_factory=list)
    usage: Usage | None = None
    finish_reason: str | None = None
    ttft_ms: float | None = None

    @property
    def text(self) -> str:
        return "".join(self.parts)


class Progress:
    """Begins with the call. `received` is what the latest attempt has brought, or the one that counts in the end."""

    def __init__(self, prompt_id: str, requested_model: str, request: Request, first: Route) -> None:
        self.prompt_id = prompt_id
        self.started = time.monotonic()
        self.attempts: list[Attempt] = []
        self.received = Received(first)
        self._requested_model = requested_model
        self._request = request

    def note(self, route: Route, outcome: Outcome, error: RouterError | None = None) -> None:
        """An attempt is over, or was `skipped`: why, if it did not go well."""
        self.attempts.append(
            Attempt(
                route.provider.name,
                route.model,
                outcome,
                error.kind.value if isinstance(error, NotConfigured | ProviderError) else None,
                error.status_code if isinstance(error, ProviderError) else None,
                str(error) if error else None,
                0.0 if outcome == "skipped" else elapsed_ms(self.received.started),
            )
        )

    def answer(self, status: Status) -> Answer:
        """What has become of the request, now that it is over."""
        received = self.received
        provider, model = received.route.provider.name, received.route.model
        text = received.text
        usage = received.usage or self._estimate(text, status)
        return Answer(
            prompt_id=self.prompt_id,
            text=text,
            provider=provider,
            model=model,
            requested_model=self._requested_model,
            status=status,
            finish_reason=received.finish_reason,
            latency_ms=elapsed_ms(self.started),
            ttft_ms=received.ttft_ms,
            usage=usage,
            cost_usd=catalog.cost_usd(provider, model, usage, datetime.now(UTC).date()),
            attempts=tuple(self.attempts),
        )

    def _estimate(self, text: str, status: Status) -> Usage:
        if status == "error":
            return Usage(0, 0, "heuristic")  # nobody is known to have read the prompt
        prompt = tokens.count_messages(self._request.messages, self._request.system)
        completion = tokens.count(text)
        exact = prompt.source == completion.source == "tiktoken"
        return Usage(prompt.tokens, completion.tokens, "tiktoken" if exact else "heuristic")


def elapsed_ms(since: float) -> float:
    """Milliseconds since a moment on the monotonic clock."""
    return round((time.monotonic() - since) * 1000, 3)

"""What becomes of a request in the log: its beginning, its first text, its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from router.budget import Budget
from router.errors import RouterError
from router.log.interaction import Interaction
from router.types import Answer


class Log(Protocol):
    """Where interactions go. `router.log.store.LogStore` is the real one.

    Nothing but `rate` raises: a log in trouble must not cost the answer.
    """

    def begin(self, interaction: Interaction, template_text: str | None, lasts_s: float) -> None:
        """Note that a request begins. After lasts_s seconds another host may give it up."""

    def keep(self, prompt_id: str) -> None:
        """Have what has begun survive a crash from now on."""

    def append(self, interaction: Interaction, template_text: str | None = None) -> None:
        """Keep a finished request."""

    def rate(self, prompt_id: str, rating: int | None) -> None:
        """Set or withdraw a rating. Raises UnknownPrompt."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The `Recorder` of one request.

    begun: the interaction as far as it is known at the beginning. lasts_s: after which time another host may give
    the request up.
    log: opened when it is first needed. template_text: the text of `begun.template_version`.
    """

    log: Callable[[], Log]
    budget: Budget
    begun: Interaction
    lasts_s: float
    template_text: str | None

    def began(self) -> None:
        """See `Recorder.began`."""
        self.log().begin(self.begun, self.template_text, self.lasts_s)

    def shown(self) -> None:
        """See `Recorder.shown`. Whoever has seen a word of an answer finds its prompt again after a crash."""
        self.log().keep(self.begun.prompt_id)

    def settled(self, answer: Answer, error: RouterError | None) -> None:
        """See `Recorder.settled`."""
        self.budget.spend(answer.cost_usd)
        ended = replace(
            self.begun,
            provider=answer.provider,
            model=answer.model,
            status=answer.status,
            response=answer.text,
            latency_ms=answer.latency_ms,
            ttft_ms=answer.ttft_ms,
            token_count=answer.usage.total_tokens,
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
            token_source=answer.usage.source,
            cost_usd=answer.cost_usd,
            attempts=[asdict(attempt) for attempt in answer.attempts],
            error=str(error) if error else None,
            finish_reason=answer.finish_reason,
        )
        self.log().append(ended, self.template_text)

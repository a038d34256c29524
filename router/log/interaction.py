"""One logged interaction: the columns of the table, of `prompts.json` and of `prompts.csv`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, cast

from router.types import Answer, Attempt, Status, TokenSource, Usage

MAX_NAME_CHARS = 200
"""The longest name of a model, a template or a conversation: the log's indexes hold them whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A finished request, as logged. Field names and order are the log's columns.

    timestamp: ISO 8601 in UTC, when the request came in. latency_ms, ttft_ms: milliseconds.
    token_count: prompt and completion tokens together. cost_usd: None when unknown. rating: 1 to 5, or None.
    prompt: what the user typed; the text sent is `template` at `template_version` with it filled in.
    template_version: hash of the template's text (see `router.templates`), None without a template.
    params: the parameters that were set (temperature, variables, …). attempts: one mapping per `Attempt`.
    finish_reason: `stop`, `length` (cut off at max_tokens) or another word of the provider's.
    parent_id: the interaction this one continues or replays. run_id: what was asked side by side.
    """

    prompt_id: str
    timestamp: str
    provider: str
    model: str
    requested_model: str
    status: str
    prompt: str
    response: str
    latency_ms: float
    ttft_ms: float | None = None
    token_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    token_source: str = "heuristic"
    cost_usd: float | None = None
    rating: int | None = None
    template: str | None = None
    template_version: str | None = None
    system: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    conversation_id: str | None = None
    run_id: str | None = None
    parent_id: str | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    finish_reason: str | None = None

    def answer(self) -> Answer:
        """The `Answer` that the caller got."""
        return Answer(
            prompt_id=self.prompt_id,
            text=self.response,
            provider=self.provider,
            model=self.model,
            requested_model=self.requested_model,
            status=cast(Status, self.status),
            finish_reason=self.finish_reason,
            latency_ms=self.latency_ms,
            ttft_ms=self.ttft_ms,
            usage=Usage(self.prompt_tokens, self.completion_tokens, cast(TokenSource, self.token_source)),
            cost_usd=self.cost_usd,
            attempts=tuple(Attempt(**attempt) for attempt in self.attempts),
        )


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Interaction))

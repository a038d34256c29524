"""The values that travel between a caller, the engine and a provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]
TokenSource = Literal["provider", "tiktoken", "heuristic"]
Status = Literal["ok", "fallback", "stopped", "interrupted", "error"]
Outcome = Literal["ok", "failed", "skipped", "stopped", "interrupted"]


MAX_TOKENS = 10**9
"""More than any answer has, and few enough for every database."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation that came before the prompt."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a provider is asked: everything rendered, nothing left to decide.

    `messages` ends with the user's rendered prompt and holds no system message; that is `system`.
    A parameter that is None is not sent, so the provider's own default holds.
    """

    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    thinking: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `source` says who counted: the provider, tiktoken or the heuristic."""

    prompt_tokens: int
    completion_tokens: int
    source: TokenSource

    @classmethod
    def reported(cls, prompt_tokens: object, completion_tokens: object) -> Usage | None:
        """What a provider reported, or None when that cannot be a number of tokens."""
        prompt = 0 if prompt_tokens is None else prompt_tokens
        completion = 0 if completion_tokens is None else completion_tokens
        if type(prompt) is not int or type(completion) is not int:  # so True and False are none either
            return None
        if min(prompt, completion) < 0 or max(prompt, completion) > MAX_TOKENS or not (prompt or completion):
            return None
        return cls(prompt, completion, "provider")

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a provider's stream: some text, or a sign of life, or what came at its end.

    An empty `text` without anything else (reasoning, for example) still counts as progress.
    """

    text: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One provider's turn at a request, in the order tried.

    outcome: `ok`, `failed`, `skipped` (not configured), `stopped` or `interrupted`.
    kind: the value of an `ErrorKind`, or None when it went well.
    latency_ms: how long this attempt took; 0 for one that was skipped.
    """

    provider: str
    model: str
    outcome: Outcome
    kind: str | None = None
    status_code: int | None = None
    message: str | None = None
    latency_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one prompt.

    provider, model: who served it (for `error`: who was tried last).
    requested_model: the `model` argument as the caller gave it.
    status: `ok`, `fallback`, `stopped`, `interrupted` or `error`.
    latency_ms, ttft_ms: from the call to the end and to the first text; ttft_ms is None without text.
    cost_usd: from the provider's own usage and dated prices; None when unknown.
    """

    prompt_id: str
    text: str
    provider: str
    model: str
    requested_model: str
    status: Status
    finish_reason: str | None
    latency_ms: float
    ttft_ms: float | None
    usage: Usage
    cost_usd: float | None
    attempts: tuple[Attempt, ...]

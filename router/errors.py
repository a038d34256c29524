"""Everything that can go wrong, as one tree.

RouterError
├── SettingsError        a variable holds a value that cannot be used; `setting` names it
├── NotConfigured        no usable key or URL; `setting` names the variable to set
├── BadRequest           the prompt or a parameter was refused; trying elsewhere will not help
│   ├── PromptTooLong        longer than MAX_PROMPT_CHARS
│   └── UnknownTemplate      no template of that name; `names` lists those that exist
├── BudgetExceeded       a limit that the user set is reached; `setting` names it, `retry_after` may say how long
├── UnknownPrompt        no logged interaction has this prompt_id
├── TemplatesBroken      the templates file cannot be read or written; it is left alone
├── TemplateConflict     someone else changed the template meanwhile; nothing was overwritten
├── LogUnavailable       the log cannot be read or written just now
├── ProviderError        one provider failed; `kind`, `status_code`, `retry_after` say how
│   └── StreamInterrupted    it failed after content had been shown; `text` holds what arrived
└── AllProvidersFailed   nobody answered; `attempts` holds the whole trail

An error of a request that was logged carries its `prompt_id` and its `attempts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from router.types import Attempt


class ErrorKind(StrEnum):
    """Why a provider did not answer. Decided once, in the provider; retry and fallback read only this."""

    NOT_CONFIGURED = "not_configured"
    AUTHENTICATION = "authentication"
    MODEL_NOT_FOUND = "model_not_found"
    BAD_REQUEST = "bad_request"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_BLOCKED = "content_blocked"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    MALFORMED_RESPONSE = "malformed_response"
    INTERRUPTED = "interrupted"


class RouterError(Exception):
    """Base of every error that this package raises on purpose."""

    prompt_id: str | None = None
    attempts: tuple[Attempt, ...] = ()


class SettingsError(RouterError):
    """An environment variable holds a value that cannot be used."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting


class NotConfigured(RouterError):
    """A provider has no usable key or URL."""

    kind = ErrorKind.NOT_CONFIGURED

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting


class BadRequest(RouterError):
    """The prompt or a parameter was refused; trying elsewhere will not help."""

    kind = ErrorKind.BAD_REQUEST


class PromptTooLong(BadRequest):
    """The prompt, with its history and system prompt, is longer than MAX_PROMPT_CHARS."""


class UnknownTemplate(BadRequest):
    """No template of that name exists."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        known = ", ".join(names) or "none yet"
        super().__init__(f"There is no template named {name!r}. Templates: {known}.")
        self.names = tuple(names)


class BudgetExceeded(RouterError):
    """A limit that the user set is reached; nothing was sent. retry_after: seconds until there is room, if known."""

    def __init__(self, setting: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.setting = setting
        self.retry_after = retry_after


class UnknownPrompt(RouterError):
    """No logged interaction has this prompt_id."""

    def __init__(self, prompt_id: str) -> None:
        super().__init__(f"No interaction has the prompt_id {prompt_id!r}.")
        self.prompt_id = prompt_id


class TemplatesBroken(RouterError):
    """The templates file cannot be read or written. It is left as it is."""


class TemplateConflict(RouterError):
    """A template changed, appeared or disappeared since it was read; nothing was overwritten."""


class LogUnavailable(RouterError):
    """The log cannot be read or written just now."""


class ProviderError(RouterError):
    """One provider failed.

    provider: its name. kind: an `ErrorKind`. status_code: the HTTP status, None when there was no response.
    retry_after: seconds the provider asked to wait, None when it did not say.
    """

    def __init__(
        self,
        provider: str,
        kind: ErrorKind,
        message: str,
        *,
        status_code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.kind = kind
        self.status_code = status_code
        self.retry_after = retry_after


class StreamInterrupted(ProviderError):
    """A provider failed after content had been shown; `text` holds what had arrived."""

    def __init__(self, cause: ProviderError, text: str) -> None:
        super().__init__(
            cause.provider,
            ErrorKind.INTERRUPTED,
            str(cause),
            status_code=cause.status_code,
            retry_after=cause.retry_after,
        )
        self.text = text


class AllProvidersFailed(RouterError):
    """Nobody answered. The message names each provider that was tried and why it failed."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        reasons = "; ".join(f"{a.provider} ({a.model}): {a.message}" for a in attempts)
        super().__init__(f"No provider could answer. {reasons}")
        self.attempts = tuple(attempts)

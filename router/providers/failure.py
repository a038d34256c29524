"""How a provider's refusal reads: what happened, which setting mends it, what the provider said."""

from __future__ import annotations

from router.errors import ErrorKind, ProviderError

_WHAT = {
    ErrorKind.AUTHENTICATION: "the key was refused, check {name}_API_KEY",
    ErrorKind.MODEL_NOT_FOUND: "this key has no such model, choose another or change {name}_MODEL",
    ErrorKind.BAD_REQUEST: "the request was refused",
    ErrorKind.CONTEXT_TOO_LONG: "the prompt and its history are too long for this model",
    ErrorKind.CONTENT_BLOCKED: "the content was blocked",
    ErrorKind.RATE_LIMITED: "rate limited",
    ErrorKind.OVERLOADED: "overloaded",
    ErrorKind.SERVER_ERROR: "server error",
    ErrorKind.TIMEOUT: "the provider gave up waiting",
}
MAX_QUOTE = 500


def refused(
    provider: str, kind: ErrorKind, status_code: int | None, said: str, retry_after: float | None = None
) -> ProviderError:
    """An error for a refusal that the provider put into words, `said`, shortened to what a person reads."""
    text = _WHAT[kind].format(name=provider.upper())
    if status_code is not None:
        text += f" ({status_code})"
    if said:
        text += f": {said[:MAX_QUOTE]}"
    return ProviderError(provider, kind, text, status_code=status_code, retry_after=retry_after)


def no_endpoint(provider: str, status_code: int) -> ProviderError:
    """An error for an address where no such API lives: a redirect, or a 404 that explains nothing."""
    text = f"no such API at this address ({status_code}), check {provider.upper()}_API_URL"
    return ProviderError(provider, ErrorKind.MODEL_NOT_FOUND, text, status_code=status_code)


def malformed(provider: str, what: str) -> ProviderError:
    """An error for a response that breaks the wire format."""
    return ProviderError(provider, ErrorKind.MALFORMED_RESPONSE, f"sent {what}")


def interrupted(provider: str, why: str) -> ProviderError:
    """An error for an answer that began and did not end as it should."""
    return ProviderError(provider, ErrorKind.INTERRUPTED, f"the answer was cut off ({why})")

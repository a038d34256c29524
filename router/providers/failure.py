"""How a provider's refusal reads: what happened, which setting or action mends it, what the provider said.

What an HTTP status means is decided here, once; what a provider's own codes mean, in its own file.
"""

from __future__ import annotations

from enum import Enum

from router.errors import ErrorKind, ProviderError
from router.providers.quoting import quote
from router.settings import Secret


class Cause(Enum):
    """What is behind a refusal: its kind, and the words for it, in which `{name}` begins the names of the settings."""

    KEY = ErrorKind.AUTHENTICATION, "the key was refused, check {name}_API_KEY"
    CREDIT = ErrorKind.AUTHENTICATION, "the account has no credit, see to its billing or change {name}_API_KEY"
    ACCOUNT = (
        ErrorKind.AUTHENTICATION,
        "the account may not use this API, or not from here: see its console, or change {name}_API_KEY",
    )
    TERMS = ErrorKind.MODEL_NOT_FOUND, "this model's terms await acceptance in the console, or change {name}_MODEL"
    MODEL = ErrorKind.MODEL_NOT_FOUND, "this key has no such model, choose another or change {name}_MODEL"
    ADDRESS = ErrorKind.MODEL_NOT_FOUND, "no such API at this address, check {name}_API_URL"
    REQUEST = ErrorKind.BAD_REQUEST, "the request was refused"
    TOO_LONG = ErrorKind.CONTEXT_TOO_LONG, "the prompt and its history are too long for this model"
    BLOCKED = ErrorKind.CONTENT_BLOCKED, "the content was blocked"
    RATE = ErrorKind.RATE_LIMITED, "rate limited"
    LOAD = ErrorKind.OVERLOADED, "overloaded"
    WAIT = ErrorKind.TIMEOUT, "the provider gave up waiting"
    UNEXPLAINED = ErrorKind.SERVER_ERROR, "refused without a reason, perhaps by a proxy on the way to {name}_API_URL"
    SERVER = ErrorKind.SERVER_ERROR, "server error"


_STATUSES = {
    401: Cause.KEY,
    402: Cause.CREDIT,
    403: Cause.KEY,
    405: Cause.ADDRESS,
    413: Cause.TOO_LONG,
    429: Cause.RATE,
    451: Cause.ACCOUNT,
    503: Cause.LOAD,
    504: Cause.WAIT,
}


def cause_of(status: int | None, *, explained: bool) -> Cause:
    """What a status means where no code of the provider's own says more.

    status: None inside a stream. explained: whether an error object came along. Only with one can a request be bad in
    itself, so that no other provider is asked; what a proxy says on the way, another provider need not hear.
    """
    if status in (400, 422):
        return Cause.REQUEST if explained else Cause.UNEXPLAINED
    if status in (404, 410):
        return Cause.MODEL if explained else Cause.ADDRESS
    if status is not None and 300 <= status < 400:
        return Cause.ADDRESS
    return _STATUSES.get(status or 0, Cause.SERVER)


def refused(
    provider: str,
    cause: Cause,
    status_code: int | None,
    said: str,
    key: Secret | None,
    retry_after: float | None = None,
) -> ProviderError:
    """An error for a refusal that the provider put into words, `said`. key: the one it was sent, and may quote."""
    kind, words = cause.value
    text = words.format(name=provider.upper())
    if status_code is not None:
        text += f" ({status_code})"
    if said:
        text += f": {quote(said, key)}"
    return ProviderError(provider, kind, text, status_code=status_code, retry_after=retry_after)


def malformed(provider: str, what: str) -> ProviderError:
    """An error for a response that breaks the wire format."""
    return ProviderError(provider, ErrorKind.MALFORMED_RESPONSE, f"sent {what}")


def interrupted(provider: str, why: str) -> ProviderError:
    """An error for an answer that began and did not end as it should."""
    return ProviderError(provider, ErrorKind.INTERRUPTED, f"the answer was cut off ({why})")

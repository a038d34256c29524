"""What GROQ and Gemini say when they refuse or fail, in their own words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


@dataclass(frozen=True)
class Problem:
    """One way to fail. `{model}` in a message is filled in here, `{key}` by the fault that sends it.

    status, groq_message, groq_type, groq_code: what GROQ answers.
    gemini_status, gemini_message, gemini_reason: what Gemini answers, with `gemini_code` where its HTTP status differs.
    retry_after: seconds, or any other text, for GROQ's header and for the RetryInfo in Gemini's details.
    """

    status: int
    groq_message: str
    groq_type: str
    groq_code: str | None
    gemini_status: str
    gemini_message: str
    gemini_code: int | None = None
    gemini_reason: str | None = None
    retry_after: str | None = None

    @classmethod
    def of(cls, what: int | str, *, message: str | None = None, retry_after: str | None = None) -> Self:
        """The problem with this status (any is allowed) or name: `bad_key`, `context_too_long`."""
        plain = (f"Something failed with {what}.", "api_error", None, "UNKNOWN", f"Something failed with {what}.")
        problem = cls(*_NAMED[what]) if isinstance(what, str) else cls(what, *_BY_STATUS.get(what, plain))
        if message is not None:
            problem = replace(problem, groq_message=message, gemini_message=message)
        return replace(problem, retry_after=retry_after)

    def http_status(self, provider: str) -> int:
        return self.gemini_code or self.status if provider == "gemini" else self.status

    def groq(self, model: str) -> dict[str, Any]:
        """The `error` object of GROQ."""
        error = {"message": self.groq_message.replace("{model}", model), "type": self.groq_type}
        return {**error, "code": self.groq_code} if self.groq_code else error

    def gemini(self, model: str) -> dict[str, Any]:
        """The `error` object of Gemini."""
        details: list[dict[str, Any]] = []
        if self.gemini_reason:
            details.append({"@type": _ERROR_INFO, "reason": self.gemini_reason, "domain": "googleapis.com"})
        if self.retry_after is not None:
            delay = self.retry_after + "s" if self.retry_after[-1:].isdigit() else self.retry_after
            details.append({"@type": _RETRY_INFO, "retryDelay": delay})
        message = self.gemini_message.replace("{model}", model)
        error = {"code": self.http_status("gemini"), "message": message, "status": self.gemini_status}
        return {**error, "details": details} if details else error


# GROQ's message, type, code; Gemini's status, message.
_BY_STATUS: dict[int, tuple[str, str, str | None, str, str]] = {
    400: (
        "'temperature' : number must be at most 2",
        "invalid_request_error",
        None,
        "INVALID_ARGUMENT",
        "Invalid value at 'generation_config.temperature': must be in the range [0.0, 2.0].",
    ),
    401: (
        "Invalid API Key",
        "invalid_request_error",
        "invalid_api_key",
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token or other valid credential.",
    ),
    403: (
        "The model `{model}` is blocked at the organization level.",
        "permissions_error",
        "model_permission_blocked_org",
        "PERMISSION_DENIED",
        "Your project has been denied access. Please contact support.",
    ),
    404: (
        "The model `{model}` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
        "NOT_FOUND",
        "models/{model} is not found for API version v1beta, or is not supported for generateContent.",
    ),
    413: (
        "Request Entity Too Large",
        "invalid_request_error",
        "request_too_large",
        "INVALID_ARGUMENT",
        "Request payload size exceeds the limit: 20971520 bytes.",
    ),
    422: (
        "Unprocessable entity: the request could not be followed because of semantic errors.",
        "invalid_request_error",
        None,
        "INVALID_ARGUMENT",
        "The request could not be processed.",
    ),
    429: (
        "Rate limit reached for model `{model}` in organization `org_01test` service tier `on_demand` on tokens per "
        "minute (TPM): Limit 8000, Used 7900, Requested 500.",
        "tokens",
        "rate_limit_exceeded",
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    498: (
        "Flex tier capacity exceeded, please try again later.",
        "server_error",
        "capacity_exceeded",
        "UNKNOWN",
        "Capacity exceeded.",
    ),
    500: (
        "Internal Server Error",
        "internal_server_error",
        None,
        "INTERNAL",
        "An internal error has occurred. Please retry or report.",
    ),
    503: (
        "{model} is currently over capacity. Please try again and back off exponentially.",
        "internal_server_error",
        None,
        "UNAVAILABLE",
        "The model is overloaded. Please try again later.",
    ),
    504: (
        "Gateway Timeout",
        "internal_server_error",
        None,
        "DEADLINE_EXCEEDED",
        "The service was unable to finish processing within the deadline.",
    ),
}

# The status first, then as above, then Gemini's own HTTP status and reason.
_NAMED: dict[str, tuple[Any, ...]] = {
    "bad_key": (
        *(401, "Invalid API Key", "invalid_request_error", "invalid_api_key"),
        *("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", 400, "API_KEY_INVALID"),
    ),
    "context_too_long": (
        400,
        "Please reduce the length of the messages or completion.",
        "invalid_request_error",
        "context_length_exceeded",
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
}

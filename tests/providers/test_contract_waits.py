"""Every form in which a provider says how long to wait, and what `ProviderError.retry_after` makes of it.

The tables go through the fault server, so each row is read as a response is read. A wait is finite and at least 0;
whatever says no such thing counts as not said, so that the router's own backoff and cooldown apply.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from typing import Any

import pytest

from router.errors import ErrorKind, ProviderError
from router.providers.http import retry_after
from tests.faults.behaviours import Behaviour, Body
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.providers.upstream import Upstream

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


@pytest.fixture(params=["gemini sdk", "gemini rest"])
def gemini(request: pytest.FixtureRequest, faults: FaultServer) -> Upstream:
    return Upstream(request.param, faults)


@pytest.fixture
def far_from_greenwich() -> Iterator[None]:
    """The machine's clock shows another zone's time, as most do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "EST5EDT")
        time.tzset()
        yield
    time.tzset()


def refusal(upstream: Upstream, behaviour: Behaviour) -> ProviderError:
    error = upstream.ask(behaviour).error
    assert error is not None
    return error


def refused_with(headers: Mapping[str, str], status: int = 429) -> Behaviour:
    return Body(b"", status, headers=headers)


def refused_by_gemini(details: Any, headers: Mapping[str, str] | None = None) -> Behaviour:
    error = {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED", "details": details}
    return Body(json.dumps([{"error": error}]).encode(), 429, "application/json", headers or {})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("0.5", 0.5),
        ("3600", 3600),
        (" 1.5 ", 1.5),
        ("1e3", 1000),
        ("-3", 0),
        ("-0.5", 0),
        ("1" + "0" * 30, 1e30),
        ("9" * 500, None),
        ("1e999", None),
        ("-1e999", None),
        ("inf", None),
        ("-Infinity", None),
        ("nan", None),
        ("", None),
        ("   ", None),
        ("soon", None),
        ("1, 2", None),
        ("1.5.2", None),
        ("0x10", None),
        ("47s", None),
        ("6m0s", None),
    ],
)
def test_a_number_of_seconds_in_the_header(upstream: Upstream, value: str, seconds: float | None) -> None:
    error = refusal(upstream, refused_with({"Retry-After": value}))
    assert (error.kind, error.retry_after) == (ErrorKind.RATE_LIMITED, seconds)


def test_no_header_says_nothing(upstream: Upstream) -> None:
    assert refusal(upstream, refused_with({})).retry_after is None


@pytest.mark.parametrize(
    "written",
    [
        lambda moment: formatdate(moment, usegmt=True),
        lambda moment: formatdate(moment),
        lambda moment: time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime(moment)),
        lambda moment: time.asctime(time.gmtime(moment)),
    ],
    ids=["RFC 1123", "numeric zone", "RFC 850", "asctime"],
)
@pytest.mark.parametrize(("ahead", "seconds"), [(600, pytest.approx(600, abs=30)), (-600, 0)])
def test_a_date_in_the_header(
    upstream: Upstream, far_from_greenwich: None, written: Callable[[float], str], ahead: float, seconds: Any
) -> None:
    error = refusal(upstream, refused_with({"Retry-After": written(time.time() + ahead)}, 503))
    assert (error.kind, error.retry_after) == (ErrorKind.OVERLOADED, seconds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37),
        ("Sun, 06 Nov 1994 10:49:37 +0200", 37),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 37),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37),
        ("Sun Nov  6 08:49:37 1994", 37),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
        ("Sun, 06 Nov 1994 08:48:00 GMT", 0),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 25:00:00 GMT", None),
        ("Sun, 06 Nov 99999999999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +99999999999", None),
        ("Sun, 06 Nov 1994", None),
        ("1994-11-06T08:49:37Z", None),
        (None, None),
    ],
)
def test_a_date_to_the_second(far_from_greenwich: None, value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=784_111_740.0) == seconds


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("47s", 47),
        ("0.5s", 0.5),
        ("0s", 0),
        ("54.123456789s", 54.123456789),
        ("-3s", 0),
        ("1" + "0" * 30 + "s", 1e30),
        ("9" * 500 + "s", None),
        ("1e999s", None),
        ("infs", None),
        ("nans", None),
        ("", None),
        ("s", None),
        ("47", None),
        ("47 s", None),
        ("soon", None),
        (47, None),
        (None, None),
        (True, None),
        (["47s"], None),
        ({"seconds": 47}, None),
    ],
)
def test_the_delay_in_gemini_s_details(gemini: Upstream, delay: Any, seconds: float | None) -> None:
    error = refusal(gemini, refused_by_gemini([{"@type": RETRY_INFO, "retryDelay": delay}]))
    assert (error.kind, error.retry_after) == (ErrorKind.RATE_LIMITED, seconds)


@pytest.mark.parametrize(
    "details", [None, [], 5, "47s", True, {"retryDelay": "47s"}, [{"@type": RETRY_INFO}], [5, None]]
)
def test_details_without_a_delay_say_nothing(gemini: Upstream, details: Any) -> None:
    error = refusal(gemini, refused_by_gemini(details))
    assert (error.kind, error.retry_after) == (ErrorKind.RATE_LIMITED, None)


def test_gemini_s_details_are_believed_before_its_header(gemini: Upstream) -> None:
    header = {"Retry-After": "7"}
    assert refusal(gemini, refused_by_gemini([{"retryDelay": "47s"}], header)).retry_after == 47
    assert refusal(gemini, refused_by_gemini([{"retryDelay": "soon"}], header)).retry_after == 7


@pytest.mark.parametrize("after", [0, 2])
def test_a_delay_counts_inside_the_stream_too(gemini: Upstream, after: int) -> None:
    assert refusal(gemini, Fault.error_event(429, after=after, retry_after="47")).retry_after == 47


def limits(limit: str, reset: str, remaining: str = "0") -> dict[str, str]:
    """What GROQ's headers say about `requests` or `tokens`."""
    return {f"x-ratelimit-remaining-{limit}": remaining, f"x-ratelimit-reset-{limit}": reset}


@pytest.mark.parametrize("limit", ["requests", "tokens"])
@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("6m0s", 360),
        ("7.66s", 7.66),
        ("2m59.56s", 179.56),
        ("120ms", 0.12),
        ("1h2m3s", 3723),
        ("24h0m0s", 86400),
        ("0s", 0),
        ("-3s", 0),
        ("9" * 500 + "h", None),
        ("30", None),
        ("6m 0s", None),
        ("6 minutes", None),
        ("1e9s", None),
        ("m", None),
        ("", None),
    ],
)
def test_without_the_header_groq_s_exhausted_limit_says_when_it_is_reset(
    groq: Upstream, limit: str, reset: str, seconds: float | None
) -> None:
    error = refusal(groq, refused_with(limits(limit, reset)))
    assert (error.kind, error.retry_after) == (ErrorKind.RATE_LIMITED, pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (limits("requests", "6m0s") | limits("tokens", "7.66s", remaining="17997"), 360),
        (limits("requests", "6m0s", remaining="14370") | limits("tokens", "7.66s"), 7.66),
        # Both must be reset before there is room.
        (limits("requests", "6m0s") | limits("tokens", "7.66s"), 360),
        (limits("requests", "later") | limits("tokens", "7.66s"), 7.66),
        # Some tokens are left, though fewer than were asked for: which limit it was cannot be told.
        (limits("requests", "6m0s", remaining="14370") | limits("tokens", "7.66s", remaining="100"), None),
        (limits("requests", "6m0s", remaining="none"), None),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "7.66s"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        # The header itself is the provider's word, unless it says nothing.
        (limits("requests", "6m0s") | {"Retry-After": "2"}, 2),
        (limits("requests", "6m0s") | {"Retry-After": "0"}, 0),
        (limits("requests", "6m0s") | {"Retry-After": "soon"}, 360),
    ],
)
def test_only_a_limit_that_is_known_to_be_exhausted_counts(
    groq: Upstream, headers: dict[str, str], seconds: float | None
) -> None:
    assert refusal(groq, refused_with(headers)).retry_after == seconds


@pytest.mark.parametrize("status", [400, 401, 413, 498, 500, 503])
def test_the_limits_explain_no_other_failure(groq: Upstream, status: int) -> None:
    assert refusal(groq, refused_with(limits("requests", "6m0s"), status)).retry_after is None

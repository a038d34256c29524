"""One pooled httpx client whose every wait obeys the `Lifeline` of its request; `network.py` sees to that."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx

from router.errors import ErrorKind, ProviderError, RouterError
from router.lifeline import Lifeline
from router.providers.failure import interrupted, malformed
from router.providers.sse import SseReader

MAX_ERROR_BYTES = 65_536
ERROR_BODY_SECONDS = 1.0
"""How long the words that come with an error status may take. The status itself says what matters most."""
MAX_BODY_BYTES = 10_000_000
READ_OUT_SECONDS = 0.05
"""How long the end of a body may take once everything was said, to have the connection back."""
_DURATION = re.compile(r"-?(?:\d+(?:\.\d+)?(?:h|ms|m|s))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)", re.ASCII)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
Refusal = Callable[[int, httpx.Headers, bytes], ProviderError]
"""Says what a response other than 200 means: its status, headers and (the first bytes of its) body."""


class HttpClient:
    """Opened at the first request, because building the TLS context takes 20 ms; in a forked process opened anew."""

    def __init__(self) -> None:
        self.closed = False
        self._opening = threading.Lock()
        self._opened: tuple[int, httpx.Client] | None = None

    @property
    def _client(self) -> httpx.Client:
        """This process's own. On a connection that it shared with its parent, each would read the other's answers."""
        if self.closed:
            raise RouterError("The router is closed.")
        process = os.getpid()
        opened = self._opened
        if opened is None or opened[0] != process:
            with self._opening:
                opened = self._opened
                if opened is None or opened[0] != process:
                    opened = self._opened = process, self._open()
        return opened[1]

    def _open(self) -> httpx.Client:
        # Here, because httpcore takes 15 ms to import, and httpx too waits with that for its first client.
        from router.providers.network import Backend

        client = httpx.Client(
            follow_redirects=False,  # a redirect could carry the key to another host
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            # Compression would hold tokens back until a block is full.
            headers={"User-Agent": "llm-router-playground", "Accept-Encoding": "identity"},
        )
        for transport in (client._transport, *client._mounts.values()):
            if isinstance(transport, httpx.HTTPTransport):
                # httpx offers no setting for the network backend and still reads the proxy variables this way.
                transport._pool._network_backend = Backend(transport._pool._network_backend)
        return client

    @contextmanager
    def request(
        self,
        provider: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        lifeline: Lifeline,
        refusal: Refusal,
    ) -> Iterator[httpx.Response]:
        """A response with status 200, its body not read yet. Leaving the block gives back or ends the connection.

        Raises ProviderError for any failure to connect, send or read, here and inside the block, and RouterError
        after `close`.
        """
        timeout = {"connect": lifeline, "read": lifeline, "write": lifeline, "pool": lifeline.timeouts.connect}
        request = self._client.build_request(
            method, url, headers=headers, content=body, extensions=cast("dict[str, Any]", {"timeout": timeout})
        )
        answered = False
        try:
            response = self._client.send(request, stream=True)
            answered = True
            try:
                if response.status_code != 200:
                    raise refusal(response.status_code, response.headers, _explanation(response, lifeline))
                if response.headers.get("content-type", "").startswith("text/html"):
                    # Such as the log-in page of a hotel's network.
                    raise malformed(provider, f"a web page instead of an answer, check {provider.upper()}_API_URL")
                yield response
            finally:
                response.close()
        except httpx.ConnectTimeout:
            within = f"could not connect within {lifeline.timeouts.connect:g} s (CONNECT_TIMEOUT)"
            if lifeline.remaining() < 0.05:  # another deadline was nearer
                within = lifeline.describe_deadline()
            raise ProviderError(provider, ErrorKind.TIMEOUT, within) from None
        except httpx.TimeoutException:
            raise ProviderError(provider, ErrorKind.TIMEOUT, lifeline.describe_deadline()) from None
        except httpx.ConnectError as error:
            where = f"{request.url.scheme}://{request.url.netloc.decode()}, check {provider.upper()}_API_URL"
            raise ProviderError(provider, ErrorKind.CONNECTION, f"could not connect to {where} ({error})") from None
        except httpx.TransportError as error:
            if answered:
                raise interrupted(provider, str(error)) from None
            raise ProviderError(provider, ErrorKind.CONNECTION, f"the connection broke ({error})") from None

    def close(self) -> None:
        """Close pooled connections, but not those of the process that this one was forked from."""
        self.closed = True
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()


def _explanation(response: httpx.Response, lifeline: Lifeline) -> bytes:
    """What there is of the body of an error: its beginning, as far as it comes soon."""
    body = bytearray()
    lifeline.hurry(min(ERROR_BODY_SECONDS, lifeline.remaining()))
    with suppress(httpx.TransportError):
        for chunk in response.iter_raw():
            body += chunk
            if len(body) >= MAX_ERROR_BYTES:
                break
    return bytes(body[:MAX_ERROR_BYTES])


def parse(text: str | bytes) -> Any:
    """The value of a JSON document. Raises ValueError for one that is none, or is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, from a Retry-After header: a number of seconds or an HTTP date; None when it says neither.

    now: seconds since the epoch. A moment that has passed gives 0. Source: RFC 9110, sections 5.6.7 and 10.2.3.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
            # The form that names no zone, asctime's, is in UTC as well.
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return _sensible(seconds)


def duration(text: str) -> float | None:
    """Seconds, from the form in which Go and protobuf's JSON write a duration: `47s`, `7.66s`, `6m0s`, `120ms`.

    None when it is none. Less than nothing gives 0.
    """
    if not _DURATION.fullmatch(text):
        return None
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    return _sensible(-seconds if text.startswith("-") else seconds)


def _sensible(seconds: float) -> float | None:
    return max(0.0, seconds) if math.isfinite(seconds) else None


def sse_events(provider: str, response: httpx.Response, last: str | None = None) -> Iterator[str]:
    """The data of each server-sent event of a response, up to and including an event that equals `last`.

    Raises ProviderError when a line or an event is endless.
    """
    reader = SseReader()
    chunks = response.iter_raw()
    try:
        for chunk in chunks:
            for event in reader.feed(chunk):
                if event == last:
                    _read_out(response, chunks)
                    yield event
                    return
                yield event
        yield from reader.close()
    except ValueError:
        raise malformed(provider, "a line or an event without an end") from None


def read_body(provider: str, response: httpx.Response) -> bytes:
    """A whole body. Raises ProviderError when it is larger than any answer."""
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise malformed(provider, f"an answer of more than {MAX_BODY_BYTES:,} bytes")
    return bytes(body)


def _read_out(response: httpx.Response, chunks: Iterator[bytes]) -> None:
    """Read to the end of the body if it comes soon: only then can the connection carry another request."""
    lifeline = response.request.extensions["timeout"]["read"]
    if isinstance(lifeline, Lifeline):
        lifeline.hurry(READ_OUT_SECONDS)
        with suppress(httpx.TransportError):
            for _ in chunks:
                pass

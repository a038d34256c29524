"""Connections whose every wait obeys the `Lifeline` of the request that they carry.

httpcore hands a request's `timeout` extension, as it is, to the network stream that reads and writes for it. So the
lifeline itself travels there, and each wait is bounded by the nearest deadline: a byte now and then, headers that
never end or a body of gigabytes cannot outlive it, and `Lifeline.cancel` wakes a silent one.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import httpcore

from router.lifeline import Lifeline

SLICE_BYTES = 16_384
"""What is written at a time: so little that it rarely takes more than one `send`."""


class _Stream(httpcore.NetworkStream):
    """A connection whose reads and writes end when the lifeline says so."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self._socket: socket.socket = inner.get_extra_info("socket")
        self._wake = partial(_shut_down, self._socket)

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        seconds = _left(timeout, httpcore.ReadTimeout)
        timeout.attach(self._wake)
        try:
            return self._inner.read(max_bytes, seconds)
        finally:
            timeout.detach()

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        # In slices, because httpcore gives each `send` of a write the whole of the seconds anew.
        for start in range(0, len(buffer), SLICE_BYTES):
            seconds = _left(timeout, httpcore.WriteTimeout)
            timeout.attach(self._wake)
            try:
                self._inner.write(buffer[start : start + SLICE_BYTES], seconds)
            finally:
                timeout.detach()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore.NetworkStream:
        stream = self._inner
        try:
            seconds = min(timeout.timeouts.connect, _left(timeout, httpcore.ConnectTimeout))
            # A handle of its own, because the TLS socket takes over the plain one's before it shakes hands.
            with socket.fromfd(self._socket.fileno(), self._socket.family, self._socket.type) as handle:
                timeout.attach(partial(_shut_down, handle))
                try:
                    stream = stream.start_tls(ssl_context, server_hostname, seconds)
                finally:
                    timeout.detach()
        except BaseException:
            stream.close()  # httpcore forgets a connection that does not come about
            raise
        return _Stream(stream)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    """Dials in a thread of its own, because neither a name look-up nor a connect can be woken."""

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        seconds = min(timeout.timeouts.connect, _left(timeout, httpcore.ConnectTimeout))
        dial = _Dial(lambda: self._inner.connect_tcp(host, port, seconds, local_address, socket_options))
        try:
            timeout.attach(dial.ended.set)
            try:
                dial.ended.wait(seconds)
            finally:
                timeout.detach()
            return _Stream(dial.result())
        except BaseException:
            dial.abandon()
            raise


class _Dial:
    """A connect under way."""

    def __init__(self, connect: Callable[[], httpcore.NetworkStream]) -> None:
        self.ended = threading.Event()
        self._connect = connect
        self._lock = threading.Lock()
        self._abandoned = False
        self._stream: httpcore.NetworkStream | None = None
        self._error: Exception = httpcore.ConnectTimeout("timed out")
        threading.Thread(target=self._run, name="router-dial", daemon=True).start()

    def _run(self) -> None:
        try:
            stream = self._connect()
        except Exception as error:  # whatever it is, it is raised again in the thread that waits
            self._error = error
        else:
            with self._lock:
                self._stream = stream
                if self._abandoned:
                    stream.close()
        self.ended.set()

    def result(self) -> httpcore.NetworkStream:
        """The connection. Raises what connecting raised, or ConnectTimeout when it is still under way."""
        with self._lock:
            if self._stream is None:
                raise self._error
            return self._stream

    def abandon(self) -> None:
        """Nobody wants it any more: what it has got, or still gets, is closed."""
        with self._lock:
            self._abandoned = True
            if self._stream is not None:
                self._stream.close()


def _shut_down(sock: socket.socket) -> None:
    # Only shutdown wakes a thread that is blocked in recv; close does not. It is called on the base class because
    # SSLSocket.shutdown drops its TLS state while the other thread is still using it.
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _left(lifeline: Lifeline, expired: type[Exception]) -> float:
    seconds = lifeline.remaining()
    if seconds <= 0:
        raise expired("deadline")
    return seconds

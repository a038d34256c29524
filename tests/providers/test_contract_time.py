"""No provider outlives a deadline, and `Lifeline.cancel` ends it at once, wherever it is."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from router.errors import ErrorKind
from router.lifeline import Lifeline, Timeouts
from router.providers import gemini
from router.types import Message
from tests.faults.behaviours import Behaviour, Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer, slowly_reading_url, unreachable_url
from tests.log.support import wait_until
from tests.providers.upstream import OVER_HTTP, PATIENT, Received, Upstream, ask_all

LATE = 4.0
"""How many seconds over its deadline a request may be on a machine that is busy with something else."""

FIRST_TOKEN = Timeouts(connect=10, first_token=0.3, idle=10, total=10)
IDLE = Timeouts(connect=10, first_token=10, idle=0.3, total=10)
TOTAL = Timeouts(connect=10, first_token=10, idle=10, total=0.3)


@pytest.mark.parametrize(
    ("fault", "timeouts", "setting", "text"),
    [
        (Fault.hang(None), FIRST_TOKEN, "FIRST_TOKEN_TIMEOUT", ""),
        (Fault.hang(0), FIRST_TOKEN, "FIRST_TOKEN_TIMEOUT", ""),
        (Fault.endless_headers(0.01), FIRST_TOKEN, "FIRST_TOKEN_TIMEOUT", ""),
        (Fault.trickle("bytes", interval=0.01), FIRST_TOKEN, "FIRST_TOKEN_TIMEOUT", ""),
        (Fault.trickle("comments", interval=0.01), FIRST_TOKEN, "FIRST_TOKEN_TIMEOUT", ""),
        (Fault.flood("comments"), FIRST_TOKEN, "FIRST_TOKEN_TIMEOUT", ""),
        (Fault.hang(2), IDLE, "IDLE_TIMEOUT", "one two "),
        (Fault.trickle("bytes", interval=0.01, after=2), IDLE, "IDLE_TIMEOUT", "one two "),
        (Fault.trickle("comments", interval=0.01, after=2), IDLE, "IDLE_TIMEOUT", "one two "),
        (Fault.hang(None), TOTAL, "TOTAL_TIMEOUT", ""),
        (Fault.hang(2), TOTAL, "TOTAL_TIMEOUT", "one two "),
        # Thinking aloud is a sign of life: only the total ends it.
        (
            Fault.trickle("reasoning", interval=0.01),
            Timeouts(first_token=0.5, idle=0.5, total=0.8),
            "TOTAL_TIMEOUT",
            "",
        ),
        (Fault.trickle("content", interval=0.01), TOTAL, "TOTAL_TIMEOUT", None),
        (Fault.flood("content"), TOTAL, "TOTAL_TIMEOUT", None),
    ],
)
def test_a_deadline_ends_what_would_last_for_ever(
    faults: FaultServer, fault: Behaviour, timeouts: Timeouts, setting: str, text: str | None
) -> None:
    faults.script("groq", fault)
    faults.script("gemini", fault)
    deadline = min(timeouts.first_token, timeouts.idle) if setting != "TOTAL_TIMEOUT" else timeouts.total
    for backend, received in ask_all(faults, timeouts).items():
        assert received.kind is ErrorKind.TIMEOUT, backend
        assert setting in str(received.error), backend
        assert f"{deadline:g} s" in str(received.error), backend
        assert deadline * 0.8 < received.seconds < deadline + LATE, backend
        if text is None:
            assert set(received.text) <= {"x"}, backend
        elif setting == "TOTAL_TIMEOUT":
            assert text.startswith(received.text), backend
        else:
            assert received.text == text, backend
    faults.wait_until(lambda: faults.open_connections == 0)


@pytest.mark.parametrize("after", [None, 0, 1])
def test_cancel_wakes_a_silent_request_at_once(upstream: Upstream, after: int | None) -> None:
    upstream.script(Fault.hang(after))
    lifeline, received = Lifeline(PATIENT), Received()
    with upstream.reading(lifeline, received) as thread:
        upstream.server.wait_for("request", upstream.name)
        if after:
            wait_until(lambda: bool(received.pieces), 5)
        started = time.monotonic()
        lifeline.cancel()
        thread.join(5)
        assert time.monotonic() - started < 1
    assert received.cancelled
    assert received.text == "one "[: 4 * (after or 0)]
    upstream.server.wait_for("disconnected", upstream.name)


@pytest.mark.parametrize("backend", OVER_HTTP)
def test_cancel_wakes_a_request_that_cannot_connect(backend: str, faults: FaultServer) -> None:
    lifeline, received = Lifeline(Timeouts(connect=3)), Received()
    with unreachable_url() as url:
        upstream = Upstream(backend, faults, url)
        with upstream.reading(lifeline, received) as thread:
            wait_until(lambda: any(other.name == "router-dial" for other in threading.enumerate()), 5)
            started = time.monotonic()
            lifeline.cancel()
            thread.join(5)
            assert time.monotonic() - started < 1
        assert received.cancelled


@pytest.mark.parametrize("backend", OVER_HTTP)
def test_cancel_ends_a_silent_tls_handshake(backend: str, faults: FaultServer) -> None:
    lifeline, received = Lifeline(PATIENT), Received()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = Upstream(backend, faults, f"https://127.0.0.1:{listener.getsockname()[1]}")
        with upstream.reading(lifeline, received) as thread:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(LATE)
                assert connection.recv(65536).startswith(b"\x16")  # the type of a handshake record
                lifeline.cancel()
                while connection.recv(65536):
                    pass
            thread.join(5)
    assert received.cancelled


def test_cancel_ends_a_stream_that_never_stops_talking(upstream: Upstream) -> None:
    upstream.script(Fault.trickle("content", interval=0.001))
    lifeline, received = Lifeline(PATIENT), Received()
    with upstream.reading(lifeline, received) as thread:
        wait_until(lambda: len(received.pieces) > 5, 5)
        lifeline.cancel()
        thread.join(5)
    assert received.cancelled
    upstream.server.wait_for("disconnected", upstream.name)


def test_cancelled_requests_leave_nothing_behind(upstream: Upstream) -> None:
    upstream.ask()
    threads = {thread for thread in threading.enumerate() if thread.name != "fault-server"}
    upstream.script(Fault.hang(1))
    for number in range(1, 21):
        lifeline, received = Lifeline(PATIENT), Received()
        with upstream.reading(lifeline, received):
            upstream.server.wait_for("request", upstream.name, times=number + 1)
    upstream.server.wait_for("disconnected", upstream.name, times=20)
    upstream.server.wait_until(lambda: upstream.server.open_connections == 0)
    assert {thread for thread in threading.enumerate() if thread.name != "fault-server"} <= threads
    assert upstream.ask(Reply("Still here.")).text == "Still here."


def test_cancel_after_the_end_touches_nobody_else(upstream: Upstream) -> None:
    lifeline = Lifeline(PATIENT)
    upstream.ask(Reply("First."), lifeline=lifeline)
    upstream.script(Reply("one two three", delay=0.1))
    received = Received()
    with upstream.reading(Lifeline(PATIENT), received) as thread:
        wait_until(lambda: bool(received.pieces), 5)
        lifeline.cancel()  # of the request that had this connection before
        thread.join(5)
    assert upstream.server.connections == 1
    assert (received.text, received.finish_reason) == ("one two three", "stop")


@pytest.mark.parametrize("backend", OVER_HTTP)
def test_a_prompt_that_is_read_slowly_does_not_outlive_the_total(backend: str, faults: FaultServer) -> None:
    timeouts = Timeouts(connect=10, first_token=10, idle=10, total=1)
    with slowly_reading_url() as url:
        received = Upstream(backend, faults, url).ask(timeouts=timeouts, messages=(Message("user", "x" * 24_000_000),))
    assert received.kind is ErrorKind.TIMEOUT
    assert "TOTAL_TIMEOUT" in str(received.error)
    assert received.seconds < timeouts.total + LATE


def test_a_request_that_waits_for_google_s_library_can_be_stopped(faults: FaultServer) -> None:
    lifeline, received = Lifeline(PATIENT), Received()
    with gemini._import_lock:  # as if another thread were still importing it
        upstream = Upstream("gemini sdk", faults)
        with upstream.reading(lifeline, received) as thread:
            lifeline.cancel()
            thread.join(5)
            assert not thread.is_alive()
    assert received.cancelled
    assert len(faults.requests) == 0
    assert upstream.ask(Reply("Hello.")).text == "Hello."


def test_waiting_for_google_s_library_obeys_the_deadline(faults: FaultServer) -> None:
    received = Received()
    with gemini._import_lock:
        upstream = Upstream("gemini sdk", faults)
        with upstream.reading(Lifeline(FIRST_TOKEN), received) as thread:
            thread.join(FIRST_TOKEN.first_token + LATE)
            assert not thread.is_alive()
    assert received.kind is ErrorKind.TIMEOUT
    assert "FIRST_TOKEN_TIMEOUT" in str(received.error)


def test_the_demo_obeys_its_lifeline(faults: FaultServer) -> None:
    demo = Upstream("demo", faults)
    late = demo.ask(model="slow", timeouts=Timeouts(first_token=0.3))
    assert late.kind is ErrorKind.TIMEOUT
    assert "FIRST_TOKEN_TIMEOUT" in str(late.error)
    lifeline, received = Lifeline(PATIENT), Received()
    with demo.reading(lifeline, received) as thread:
        wait_until(lambda: bool(received.pieces), 5)
        started = time.monotonic()
        lifeline.cancel()
        thread.join(5)
        assert time.monotonic() - started < 1
    assert received.cancelled

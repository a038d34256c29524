"""Stop means stop, no request outlives its deadline, and requests at the same time do not mix."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from router import AllProvidersFailed, AnswerStream, RouterError, StreamInterrupted
from router.lifeline import Timeouts
from tests.faults.behaviours import Behaviour, Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.log.support import wait_until
from tests.routing import Routing

SOON = 2.0
"""Seconds within which even a busy machine ends a request; every deadline is far beyond. An idle one takes a
millisecond: `benchmarks/cancel.py` has the figures."""


def read_until_three(stream: AnswerStream) -> None:
    for piece in stream:
        if piece == "three ":
            break


def read_and_raise(stream: AnswerStream) -> None:
    with suppress(KeyError):
        for _ in stream:
            raise KeyError


@pytest.mark.parametrize(("leave", "text"), [(read_until_three, "one two three "), (read_and_raise, "one ")])
def test_leaving_the_block_ends_the_request_and_keeps_what_came(
    routing: Routing, leave: Callable[[AnswerStream], None], text: str
) -> None:
    routing.faults.script("groq", Fault.hang(5))
    with routing().stream("Count.") as stream:
        leave(stream)
    routing.faults.wait_for("disconnected", "groq")
    assert (stream.answer.status, stream.answer.text, stream.answer.provider) == ("stopped", text, "groq")
    assert [attempt.outcome for attempt in stream.answer.attempts] == ["stopped"]
    assert (routing.log.row.status, routing.log.row.response) == ("stopped", text)
    assert routing.log.row.prompt_id == stream.prompt_id
    assert routing.sent() == (1, 0)


@pytest.mark.parametrize("after", [None, 0, 2])
@pytest.mark.parametrize("backend", ["groq", "gemini sdk", "gemini rest"])
def test_close_from_another_thread_ends_a_silent_upstream(routing: Routing, backend: str, after: int | None) -> None:
    if backend == "gemini sdk":
        pytest.importorskip("google.generativeai")
    provider, _, gemini_backend = backend.partition(" ")
    routing.faults.script(provider, Fault.hang(after))
    stream = routing(gemini_backend=gemini_backend or "rest").stream("Count.", model=provider)
    pieces: list[str] = []
    reader = threading.Thread(target=lambda: pieces.extend(stream))
    reader.start()
    routing.faults.wait_for("request", provider)
    wait_until(lambda: "".join(pieces) == "one two "[: 4 * (after or 0)], 5)
    closed = time.monotonic()
    stream.close()
    routing.faults.wait_for("disconnected", provider)
    reader.join(5)
    assert not reader.is_alive()
    assert time.monotonic() - closed < SOON
    assert (stream.answer.status, stream.answer.text) == ("stopped", "".join(pieces))
    assert [attempt.outcome for attempt in stream.answer.attempts] == ["stopped"]
    assert (routing.log.row.status, routing.log.row.response) == ("stopped", "".join(pieces))
    stream.close()
    assert len(routing.log.rows) == 1


def test_a_stopped_stream_does_not_go_on_with_another_provider(routing: Routing) -> None:
    routing.faults.script("groq", Fault.status(500))
    routing.faults.script("gemini", Fault.hang())
    stream = routing().stream("Count.")
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    routing.faults.wait_for("request", "gemini")
    stream.close()
    reader.join(5)
    assert [attempt.outcome for attempt in stream.answer.attempts] == ["failed", "stopped"]
    assert stream.answer.provider == "gemini"


def test_a_stream_that_nobody_read_is_logged_as_stopped_and_never_sent(routing: Routing) -> None:
    with routing().stream("Count.") as stream, pytest.raises(RuntimeError, match="not complete"):
        _ = stream.answer
    assert (stream.answer.status, stream.answer.text, stream.answer.attempts) == ("stopped", "", ())
    assert routing.log.row.status == "stopped"
    assert routing.sent() == (0, 0)
    assert list(stream) == []


def test_a_finished_stream_is_not_stopped_by_leaving_it(routing: Routing) -> None:
    with routing().stream("Count.") as stream:
        list(stream)
    stream.close()
    assert stream.answer.status == "ok"
    assert routing.log.row.status == "ok"


MOMENTS = {
    "unread": Fault.hang(None),
    "at-once": Fault.hang(None),
    "before-headers": Fault.hang(None),
    "before-text": Fault.hang(0),
    "in-mid-text": Fault.hang(1),
    "by-its-reader": Fault.hang(1),
}
"""When a stream is stopped, and what the provider does until then. The last one's reader stops it itself."""


def stop(stream: AnswerStream, moment: str, faults: FaultServer) -> None:
    if moment == "unread":
        stream.close()
    elif moment == "by-its-reader":
        with stream:
            next(stream)
    else:
        asked = len(faults.requests)
        pieces: list[str] = []
        reader = threading.Thread(target=lambda: pieces.extend(stream))
        reader.start()
        if moment != "at-once":
            faults.wait_until(lambda: len(faults.requests) > asked)
        if moment == "in-mid-text":
            wait_until(lambda: bool(pieces), 5)
        stream.close()
        reader.join(5)
        assert not reader.is_alive()
    assert stream.answer.status == "stopped"


def test_a_thousand_stopped_streams_leave_nothing_behind(routing: Routing) -> None:
    pytest.importorskip("google.generativeai")
    faults = routing.faults
    at_first = set(threading.enumerate())
    sdk, rest = routing(gemini_backend="sdk"), routing(gemini_backend="rest")
    pools = [router._http._client._transport._pool for router in (sdk, rest)]
    for moment, fault in MOMENTS.items():
        faults.script(f"groq:{moment}", fault)
        faults.script(f"gemini:{moment}", fault)

    def stop_streams(rounds: int) -> None:
        for _ in range(rounds):
            for router, provider in ((rest, "groq"), (sdk, "gemini"), (rest, "gemini")):
                for moment in MOMENTS:
                    stop(router.stream("Count.", model=f"{provider}:{moment}"), moment, faults)

    def open_files() -> int:
        """Once nothing is under way any more, and each pool holds the connection of one answer."""
        for router in (sdk, rest):
            assert router.chat("Hi.", model="gemini").status == "ok"
        faults.wait_until(lambda: faults.open_connections == len(pools))
        wait_until(lambda: {thread for thread in threading.enumerate() if thread.name != "fault-server"} <= at_first, 5)
        assert [[one.is_idle() for one in pool.connections] for pool in pools] == [[True], [True]]
        assert [pool._requests for pool in pools] == [[], []]
        return len(os.listdir("/dev/fd"))

    stop_streams(1)  # what is loaded with the first use is no leak
    before = open_files()
    stop_streams(56)
    assert open_files() <= before
    assert [row.status for row in routing.log.rows].count("stopped") == 57 * 3 * len(MOMENTS)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.hang(None),
        Fault.endless_headers(0.01),
        Fault.trickle("bytes", interval=0.01),
        Fault.trickle("reasoning", interval=0.01),
        Fault.trickle("content", interval=0.01),
        Fault.flood("comments"),
        Fault.flood("content"),
    ],
)
@pytest.mark.parametrize("backend", ["sdk", "rest"])
def test_nothing_outlives_the_total(routing: Routing, fault: Behaviour, backend: str) -> None:
    if backend == "sdk":
        pytest.importorskip("google.generativeai")
    routing.faults.script("groq", fault)
    routing.faults.script("gemini", fault)
    started = time.monotonic()
    with pytest.raises(RouterError):
        routing(timeouts=Timeouts(total=0.3), gemini_backend=backend).chat("Hi.", model="gemini")
    assert time.monotonic() - started < 2.5
    routing.faults.wait_until(lambda: routing.faults.open_connections == 0)


def test_the_total_counts_all_attempts_together(routing: Routing) -> None:
    routing.faults.script("groq", Fault.hang())
    routing.faults.script("gemini", Fault.hang())
    started = time.monotonic()
    with pytest.raises(AllProvidersFailed) as caught:
        routing(timeouts=Timeouts(first_token=0.4, total=0.6)).chat("Hi.")
    assert time.monotonic() - started < 2
    groq, gemini = caught.value.attempts
    assert "FIRST_TOKEN_TIMEOUT" in str(groq.message)
    assert "TOTAL_TIMEOUT" in str(gemini.message)


def test_after_the_total_nobody_else_is_asked(routing: Routing) -> None:
    routing.faults.script("groq", Fault.hang())
    with pytest.raises(AllProvidersFailed):
        routing(timeouts=Timeouts(total=0.3)).chat("Hi.")
    assert routing.sent() == (1, 0)


def test_an_answer_of_gigabytes_is_ended_by_its_size(routing: Routing) -> None:
    routing.faults.script("groq", Fault.flood("content"))
    with routing().stream("Hi.") as stream, pytest.raises(StreamInterrupted, match="10,000,000 characters"):
        list(stream)
    routing.faults.wait_for("disconnected", "groq")
    assert len(stream.answer.text) < 10_100_000


@pytest.mark.parametrize("backend", ["sdk", "rest"])
def test_fifty_threads_get_their_own_answers(routing: Routing, backend: str) -> None:
    if backend == "sdk":
        pytest.importorskip("google.generativeai")
    router = routing(gemini_backend=backend)
    for number in range(50):
        provider = ("groq", "gemini")[number % 2]
        routing.faults.script(f"{provider}:m{number}", Reply(f"This is answer {number} of many.", delay=0.02))
    together = threading.Barrier(50)

    def ask(number: int) -> str:
        together.wait(10)
        with router.stream(f"Question {number}", model=f"{('groq', 'gemini')[number % 2]}:m{number}") as stream:
            return "".join(stream)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert answers == [f"This is answer {number} of many." for number in range(50)]
    logged = {row.prompt: (row.response, row.status) for row in routing.log.rows}
    assert logged == {f"Question {n}": (f"This is answer {n} of many.", "ok") for n in range(50)}
    assert len({row.prompt_id for row in routing.log.rows}) == 50


def test_two_threads_may_share_one_stream(routing: Routing) -> None:
    words = [f"w{number} " for number in range(200)]
    routing.faults.script("groq", Reply(words))
    stream = routing().stream("Count.")
    with ThreadPoolExecutor(2) as pool:
        halves: list[list[str]] = list(pool.map(list, [stream, stream]))
    assert sorted(halves[0] + halves[1]) == sorted(words)
    assert stream.answer.text == "".join(words)

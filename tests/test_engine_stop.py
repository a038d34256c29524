"""Stop means stop, no request outlives its deadline, and requests at the same time do not mix."""

from __future__ import annotations

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
from tests.log.support import wait_until
from tests.routing import Routing


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
def test_close_from_another_thread_wakes_a_silent_stream(routing: Routing, after: int | None) -> None:
    routing.faults.script("groq", Fault.hang(after))
    stream = routing().stream("Count.")
    pieces: list[str] = []
    reader = threading.Thread(target=lambda: pieces.extend(stream))
    reader.start()
    routing.faults.wait_for("request", "groq")
    wait_until(lambda: "".join(pieces) == "one two "[: 4 * (after or 0)], 5)
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < 1
    reader.join(5)
    assert not reader.is_alive()
    routing.faults.wait_for("disconnected", "groq")
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


def test_stopped_streams_leave_no_threads_and_no_connections(routing: Routing) -> None:
    router = routing()
    router.chat("Hi.")
    before = {thread for thread in threading.enumerate() if thread.name != "fault-server"}
    routing.faults.script("groq", Fault.hang(1))
    for _ in range(100):
        with router.stream("Count.") as stream:
            next(stream)
    routing.faults.wait_for("disconnected", "groq", times=100)
    routing.faults.wait_until(lambda: routing.faults.open_connections == 0)
    assert {thread for thread in threading.enumerate() if thread.name != "fault-server"} <= before
    assert [row.status for row in routing.log.rows] == ["ok"] + ["stopped"] * 100


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

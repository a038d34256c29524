"""What a caller may do to a stream: let go of it, take its time, close it from a signal handler, press Ctrl-C."""

from __future__ import annotations

import gc
import signal
import threading

import pytest

from router import Router, RouterError
from router.lifeline import Timeouts
from tests.faults.behaviours import Behaviour, Reply
from tests.faults.faults import Fault
from tests.faults.server import Event
from tests.log.support import wait_until
from tests.routing import Routing
from tests.scripted import Scripted


@pytest.mark.parametrize("backend", ["groq", "gemini sdk", "gemini rest"])
def test_letting_go_of_a_stream_ends_it_there_and_then(routing: Routing, backend: str) -> None:
    if backend == "gemini sdk":
        pytest.importorskip("google.generativeai")
    provider, _, gemini_backend = backend.partition(" ")
    routing.faults.script(provider, Fault.hang(1))
    router = routing(gemini_backend=gemini_backend or "rest")
    gc.disable()  # which would end it anywhere, such as under a lock that ending it takes
    try:
        for piece in router.stream("Count.", model=provider):
            assert piece == "one "
            break
        assert (routing.log.row.status, routing.log.row.response) == ("stopped", "one ")
        routing.faults.wait_for("disconnected", provider)
    finally:
        gc.enable()


def test_the_time_that_the_caller_takes_is_not_the_provider_s(routing: Routing) -> None:
    words = [f"w{number} " for number in range(30)]
    routing.faults.script("groq", Reply(words, delay=0.05), Reply("And now?"))
    router = routing(timeouts=Timeouts(idle=1, total=1))
    read_late = router.stream("Later.")
    with router.stream("Count.") as stream:
        pieces = [next(stream)]
        routing.faults.wait_for("finished", "groq")  # after more than a second
        pieces += stream
    assert (pieces, stream.answer.status) == (words, "ok")
    assert "".join(read_late) == "And now?"
    assert read_late.answer.status == "ok"
    assert router.cooling() == []


@pytest.mark.parametrize(
    ("behaviour", "event"),
    [
        (Fault.hang(None), "request"),
        (Fault.hang(1), "request"),
        (Fault.status(429, retry_after="15"), "finished"),
    ],
)
def test_a_signal_handler_may_close_the_stream_that_it_interrupts(
    routing: Routing, behaviour: Behaviour, event: Event
) -> None:
    routing.faults.script("groq", behaviour)
    stream = routing().stream("Count.", fallback=False)
    reader = threading.get_ident()

    def press() -> None:
        routing.faults.wait_for(event, "groq")
        signal.pthread_kill(reader, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: stream.close())
    try:
        threading.Thread(target=press).start()
        pieces = list(stream)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (stream.answer.status, stream.answer.text) == ("stopped", "".join(pieces))
    assert routing.log.row.status == "stopped"
    assert routing.sent() == (1, 0)


def test_ctrl_c_is_logged_as_a_stop_and_says_nothing_about_the_provider(routing: Routing) -> None:
    provider = Scripted("One ", KeyboardInterrupt())
    router = Router(routing().settings, providers={"groq": provider}, log=routing.log)
    stream = router.stream("Count.")
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    assert (stream.answer.status, stream.answer.text) == ("stopped", "One ")
    assert routing.log.row.status == "stopped"
    assert router.cooling() == []


def test_a_router_that_was_closed_says_so(routing: Routing) -> None:
    router = routing()
    opened_before = router.stream("Before.")
    router.close()
    with pytest.raises(RouterError, match="router is closed"):
        list(opened_before)
    with pytest.raises(RouterError, match="router is closed"):
        router.chat("After.")
    assert routing.sent() == (0, 0)
    assert router.cooling() == []


def test_stopping_another_request_leaves_a_probe_alone(routing: Routing) -> None:
    routing.faults.script(
        "groq", Fault.hang(1), Fault.status(429, retry_after="0.01"), Fault.hang(1), Reply("I am back.")
    )
    router = routing()
    with router.stream("Before the trouble.") as older:
        next(older)
        assert router.chat("Hello?").provider == "gemini"
        wait_until(lambda: not router.cooling(), 5)
        with router.stream("Is it back?") as probe:
            next(probe)
            older.close()
            passed_over = router.chat("Hello?")
            assert (passed_over.provider, passed_over.attempts[0].outcome) == ("gemini", "skipped")
            assert "another request is trying it" in str(passed_over.attempts[0].message)
    assert router.chat("Hello?").text == "I am back."

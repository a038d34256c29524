"""Every fault × every provider × call and stream: what the caller gets, what was tried, and what the log says.

`python -m tests.test_fault_matrix` prints the table.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import pytest

from router import BadRequest, StreamInterrupted
from router.errors import ErrorKind, RouterError
from router.lifeline import Timeouts
from tests.faults.behaviours import Behaviour, Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.routing import Routing

DEADLINE = 0.4
TIMEOUTS = Timeouts(connect=2, first_token=DEADLINE, idle=DEADLINE, total=8)
SLACK = 2.0
"""Seconds that a busy machine may add."""

PROVIDERS = ("groq", "gemini sdk", "gemini rest")
KIND = ErrorKind


@dataclass(frozen=True)
class Case:
    """A fault and what it must become. `shown` is what a stream has handed out when it strikes."""

    fault: Behaviour
    kind: ErrorKind
    shown: str = ""
    deadlines: int = 0
    first_token: float = DEADLINE
    only: str = ""


CASES = {
    "400 bad request": Case(Fault.status(400), KIND.BAD_REQUEST),
    "401": Case(Fault.status(401), KIND.AUTHENTICATION),
    "bad key": Case(Fault.bad_key(), KIND.AUTHENTICATION),
    "403": Case(Fault.status(403), KIND.AUTHENTICATION),
    "404 model not found": Case(Fault.status(404), KIND.MODEL_NOT_FOUND),
    "413": Case(Fault.status(413), KIND.CONTEXT_TOO_LONG),
    "422": Case(Fault.status(422), KIND.BAD_REQUEST),
    "429": Case(Fault.status(429), KIND.RATE_LIMITED),
    "429 retry after 30 s": Case(Fault.status(429, retry_after="30"), KIND.RATE_LIMITED),
    "498": Case(Fault.status(498), KIND.OVERLOADED, only="groq"),
    "500": Case(Fault.status(500), KIND.SERVER_ERROR),
    "502 with HTML": Case(Fault.status(502), KIND.SERVER_ERROR),
    "503": Case(Fault.status(503), KIND.OVERLOADED),
    "context too long": Case(Fault.context_too_long(), KIND.CONTEXT_TOO_LONG),
    "content blocked": Case(Fault.blocked(), KIND.CONTENT_BLOCKED),
    "redirect": Case(Fault.redirect(), KIND.MODEL_NOT_FOUND),
    "a web page": Case(Fault.body(b"<html>", content_type="text/html"), KIND.MALFORMED_RESPONSE),
    "not HTTP": Case(Fault.not_http(), KIND.CONNECTION),
    "hang before the headers": Case(Fault.hang(None), KIND.TIMEOUT, deadlines=1),
    "headers that never end": Case(Fault.endless_headers(), KIND.TIMEOUT, deadlines=1),
    "hang after the headers": Case(Fault.hang(0), KIND.TIMEOUT, deadlines=1),
    "comments trickle": Case(Fault.trickle("comments"), KIND.TIMEOUT, deadlines=1),
    "bytes trickle": Case(Fault.trickle("bytes"), KIND.TIMEOUT, deadlines=1),
    "a line of gigabytes": Case(Fault.flood("line"), KIND.MALFORMED_RESPONSE, deadlines=1, first_token=8),
    "comments of gigabytes": Case(Fault.flood("comments"), KIND.TIMEOUT, deadlines=1),
    "cut before the headers": Case(Fault.cut(None), KIND.CONNECTION),
    "reset before the headers": Case(Fault.cut(None, "rst"), KIND.CONNECTION),
    "cut after the headers": Case(Fault.cut(0), KIND.INTERRUPTED),
    "empty without a finish reason": Case(Reply("", finish=None, usage=None, done=False), KIND.INTERRUPTED),
    "an error in the stream": Case(Fault.error_event(), KIND.SERVER_ERROR),
    "half a JSON object": Case(Fault.malformed_json(), KIND.MALFORMED_RESPONSE),
    "hang in mid-answer": Case(Fault.hang(2), KIND.TIMEOUT, "one two ", deadlines=1),
    "cut in mid-answer": Case(Fault.cut(2), KIND.INTERRUPTED, "one two "),
    "reset in mid-answer": Case(Fault.cut(2, "rst"), KIND.INTERRUPTED, "one two "),
    "clean end in mid-answer": Case(Fault.cut(2, "clean"), KIND.INTERRUPTED, "one two "),
    "an error in mid-answer": Case(Fault.error_event(after=2), KIND.SERVER_ERROR, "one two "),
    "half a JSON object in mid-answer": Case(Fault.malformed_json(after=2), KIND.MALFORMED_RESPONSE, "one two "),
}


def run(routing: Routing, provider: str, case: Case, how: str) -> tuple[RouterError | None, float]:
    """Ask the provider that has the fault, with the other one in good health."""
    name, _, backend = provider.partition(" ")
    other = "gemini" if name == "groq" else "groq"
    routing.faults.script(name, case.fault)
    routing.faults.script(other, Reply("From the other one."))
    router = routing(timeouts=replace(TIMEOUTS, first_token=case.first_token), gemini_backend=backend or "rest")
    if backend == "sdk":
        assert router.providers["gemini"]._client  # its import is not what is measured here
    started = time.monotonic()
    try:
        if how == "chat":
            router.chat("Hello?", model=name)
        else:
            with router.stream("Hello?", model=name) as stream:
                list(stream)
    except RouterError as error:
        return error, time.monotonic() - started
    return None, time.monotonic() - started


@pytest.mark.parametrize("how", ["chat", "stream"])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_fault_ends_as_promised(
    routing: Routing, faults: FaultServer, provider: str, case: Case, how: str
) -> None:
    name = provider.partition(" ")[0]
    if case.only and case.only != name:
        return
    other = "gemini" if name == "groq" else "groq"
    error, seconds = run(routing, provider, case, how)
    row = routing.log.row
    first = row.attempts[0]

    assert first["provider"] == name
    assert first["kind"] == case.kind
    assert faults.requests.count(name) == 1, "a failing provider is asked once while another remains"
    assert seconds < case.deadlines * case.first_token + SLACK
    if case.kind is KIND.BAD_REQUEST:
        assert isinstance(error, BadRequest)
        assert row.status == "error"
        assert faults.requests.count(other) == 0
    elif case.shown and how == "stream":
        assert isinstance(error, StreamInterrupted)
        assert error.text == row.response == case.shown
        assert (row.status, first["outcome"]) == ("interrupted", "interrupted")
        assert faults.requests.count(other) == 0
    else:
        assert error is None
        assert (row.status, row.provider, row.response) == ("fallback", other, "From the other one.")
        assert [attempt["outcome"] for attempt in row.attempts] == [
            "interrupted" if case.shown else "failed",
            "ok",
        ]
        assert faults.requests.count(other) == 1


SAID = Reply("one two", done=False)


@pytest.mark.parametrize("how", ["chat", "stream"])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", [Fault.cut(3, reply=SAID), Fault.hang(3, reply=SAID)], ids=["cut", "hang"])
def test_an_answer_that_has_its_finish_reason_is_complete_whatever_follows(
    routing: Routing, faults: FaultServer, provider: str, fault: Behaviour, how: str
) -> None:
    error, seconds = run(routing, provider, Case(fault, KIND.INTERRUPTED), how)
    assert error is None
    assert seconds < DEADLINE + SLACK
    row = routing.log.row
    assert (row.status, row.response, row.finish_reason) == ("ok", "one two", "stop")
    assert (row.token_count, row.token_source) == (sum(SAID.usage or ()), "provider")
    assert len(faults.requests) == 1


def _table() -> None:
    import tempfile
    from pathlib import Path

    print("| fault | kind | " + " | ".join(f"{one}, {how}" for one in PROVIDERS for how in ("chat", "stream")) + " |")
    print("| --- " * (2 + 2 * len(PROVIDERS)) + "|")
    for name, case in CASES.items():
        cells: list[Any] = []
        for provider in PROVIDERS:
            for how in ("chat", "stream"):
                if case.only and not provider.startswith(case.only):
                    cells.append("–")
                    continue
                with FaultServer() as server, tempfile.TemporaryDirectory() as folder:
                    routing = Routing(server, Path(folder))
                    _, seconds = run(routing, provider, case, how)
                    requests = server.requests.count(provider.partition(" ")[0])
                    cells.append(f"{routing.log.row.status}, {requests} request, {seconds:.2f} s")
                    routing.close()
        print(f"| {name} | {case.kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    _table()

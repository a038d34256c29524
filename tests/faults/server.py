"""A provider on the loopback interface that speaks GROQ's and Gemini's wire formats, and misbehaves on demand.

with FaultServer() as server:
    server.script("groq", Fault.status(429, retry_after="1"), Reply("Hello there."))
    ...  # point GROQ_API_URL at server.groq_url, GEMINI_API_URL at server.gemini_url
    assert server.requests.count("groq") == 2
    server.wait_for("disconnected", "gemini")
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Self

from tests.faults.behaviours import Behaviour, ModelList, Reply
from tests.faults.exchange import ClientGone, Connection, Exchange, GaveUp, Recorded
from tests.faults.faults import Fault
from tests.faults.wire import wire_for

Event = Literal["request", "finished", "disconnected", "gave up"]
"""`request`: one arrived. `finished`: it was played to its end. `disconnected`: the client left before that.
`gave up`: the client was still there after LONGEST_WAIT."""


class Requests:
    """Every request so far, in the order of arrival; safe to read from any thread."""

    def __init__(self) -> None:
        self._all: list[Recorded] = []

    def add(self, request: Recorded) -> None:
        self._all.append(request)

    def of(self, provider: str) -> list[Recorded]:
        """Those to `groq`, `gemini`, `groq/models`, `gemini/models`, or `unknown` addresses."""
        return [request for request in tuple(self._all) if request.provider == provider]

    def count(self, provider: str) -> int:
        return len(self.of(provider))

    def last(self, provider: str) -> Recorded:
        return self.of(provider)[-1]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Recorded]:
        return iter(tuple(self._all))


class FaultServer:
    """Serves in threads of its own, one for each connection; all have ended when the `with` block is left.

    connections: how many were accepted. open_connections: how many are open now.
    """

    def __init__(self) -> None:
        self.requests = Requests()
        self.connections = 0
        self.open_connections = 0
        self._changed = threading.Condition()
        self._events: Counter[tuple[Event, str]] = Counter()
        self._scripts: dict[str, list[Behaviour]] = {
            "groq": [Reply()],
            "gemini": [Reply()],
            "groq/models": [ModelList(("openai/gpt-oss-20b", "openai/gpt-oss-120b", "whisper-large-v3"))],
            "gemini/models": [ModelList(("gemini-3.5-flash-lite", "gemini-3.5-flash", "gemini-embedding-001"))],
            "unknown": [Fault.body(b"Nothing is here.", status=404, content_type="text/plain")],
        }
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.groq_url = f"{self.url}/openai/v1/chat/completions"
        self.gemini_url = self.url

    def script(self, whom: str, *behaviours: Behaviour) -> None:
        """What the next requests get, in this order; the last one is repeated.

        whom: `groq`, `gemini`, `groq/models`, `gemini/models`, or one model, such as `groq:openai/gpt-oss-20b`.
        """
        if whom.partition(":")[0] not in self._scripts or not behaviours:
            raise ValueError(f"Cannot script {whom!r} with {behaviours!r}.")
        with self._changed:
            self._scripts[whom] = list(behaviours)

    def wait_for(self, event: Event, provider: str, *, times: int = 1, within: float = 5.0) -> None:
        """Return once this has happened so often since the start; AssertionError when it has not in time."""
        key = (event, provider)
        self.wait_until(lambda: self._events[key] >= times, f"{event!r} of {provider} × {times}", within=within)

    def wait_until(self, holds: Callable[[], bool], what: str = "", *, within: float = 5.0) -> None:
        """Return once `holds()`, asked again whenever anything happens here; AssertionError when it stays false."""
        with self._changed:
            if not self._changed.wait_for(holds, within):
                raise AssertionError(f"Not within {within} s: {what}. So far: {dict(self._events)}.")

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            for sock in self._sockets:
                # Wakes a thread that reads, writes or polls; the thread itself closes the socket.
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        with suppress(OSError), socket.create_connection(self._listener.getsockname(), timeout=1):
            pass  # wakes `accept`
        deadline = time.monotonic() + 5
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._listener.close()
        assert not any(thread.is_alive() for thread in self._threads), "a thread of the fault server did not end"

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="fault-server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            with self._changed:
                if self._stopping:
                    sock.close()
                    return
                self._sockets.add(sock)
                self.connections += 1
                self.open_connections += 1
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                self._start(self._serve, sock)
                self._changed.notify_all()

    def _serve(self, sock: socket.socket) -> None:
        try:
            connection = Connection(sock)
            while (request := connection.read_request()) and self._answer(connection, request):
                pass
        finally:
            with self._changed:
                self._sockets.discard(sock)
                sock.close()
                self.open_connections -= 1
                self._changed.notify_all()

    def _answer(self, connection: Connection, request: Recorded) -> bool:
        """Play what the script says; whether the connection can carry another request."""
        exchange = Exchange(connection, request)
        self.requests.add(request)
        self._note("request", request)
        try:
            self._next_behaviour(request).play(exchange, wire_for(request))
        except ClientGone:
            self._note("disconnected", request)
            return False
        except GaveUp:
            self._note("gave up", request)
            return False
        self._note("finished", request)
        return exchange.reusable

    def _next_behaviour(self, request: Recorded) -> Behaviour:
        with self._changed:
            own = f"{request.provider}:{request.model}"
            script = self._scripts.get(own) or self._scripts[request.provider]
            return script.pop(0) if len(script) > 1 else script[0]

    def _note(self, event: Event, request: Recorded) -> None:
        with self._changed:
            self._events[event, request.provider] += 1
            self._changed.notify_all()


@contextmanager
def refusing_url() -> Iterator[str]:
    """An address where connections are refused, reserved so that nobody else can start to listen there."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@contextmanager
def unreachable_url() -> Iterator[str]:
    """An address where connecting takes for ever: a listener whose queue is full and that never accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


@contextmanager
def slowly_reading_url() -> Iterator[str]:
    """An address where one request is read at 4 MB/s at most, and never answered."""
    stopped = threading.Event()

    def read() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            while not stopped.wait(0.015) and connection.recv(65536):
                pass

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        reader = threading.Thread(target=read, name="slow-reader", daemon=True)
        reader.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopped.set()
            with socket.socket() as last:
                last.connect_ex(listener.getsockname())  # wakes `accept` if nobody ever came
                reader.join(5)
            assert not reader.is_alive(), "the slow reader did not end"

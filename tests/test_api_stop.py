"""What happens to requests over HTTP when a client leaves, when many come at once, and when the log is out of reach."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import randbytes
from typing import Any

import httpx
import pytest

from router.log.store import LogStore
from tests.faults.behaviours import Reply
from tests.faults.faults import Fault
from tests.faults.server import FaultServer, refusing_url
from tests.log.support import made_up, wait_until
from tests.serving import serving


@pytest.fixture
def client(faults: FaultServer, tmp_path: Path) -> Iterator[httpx.Client]:
    # Patient: a busy machine may take seconds to accept sixty connections at once.
    with serving(faults, tmp_path, CONNECT_TIMEOUT="30", FIRST_TOKEN_TIMEOUT="30") as server:
        yield server.client


def test_a_client_that_leaves_ends_the_upstream_request(faults: FaultServer, client: httpx.Client) -> None:
    faults.script("groq", Fault.hang(2))
    body = b'{"prompt": "A tale without an end."}'
    head = f"POST /chat HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as sock:
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        faults.wait_for("request", "groq")
        left = time.monotonic()
    faults.wait_for("disconnected", "groq")
    assert time.monotonic() - left < 2

    def rows() -> list[dict[str, Any]]:
        return list(client.get("/logs/prompts.json").json())

    wait_until(lambda: bool(rows()), 5)
    (row,) = rows()
    assert (row["status"], row["prompt"]) == ("stopped", "A tale without an end.")
    assert row["response"] in ("", "one ", "one two ")


FEW_THREADS = """
import anyio, uvicorn
from importlib import import_module
import_module("router.api.routes")._waiting_for_answers = anyio.CapacityLimiter(2)
uvicorn.run("streamlit_app:app", port=0)
"""


def test_who_waits_for_an_answer_keeps_nobody_else_waiting(faults: FaultServer, tmp_path: Path) -> None:
    faults.script("groq", Fault.hang())
    body = b'{"prompt": "A tale without an end."}'
    head = b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(faults, tmp_path, script=FEW_THREADS) as server:
        address = (server.client.base_url.host, server.client.base_url.port or 80)
        with ExitStack() as clients:
            for _ in range(3):  # one more than can be asked at once
                sock = clients.enter_context(socket.create_connection(address))
                sock.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
            faults.wait_for("request", "groq", times=2)
            assert server.client.get("/health").status_code == 200
        faults.wait_for("disconnected", "groq", times=2)
        wait_until(lambda: len(server.client.get("/logs/prompts.json").json()) == 3, 5)
        assert {row["status"] for row in server.client.get("/logs/prompts.json").json()} == {"stopped"}
    assert faults.requests.count("groq") == 2, "who left while waiting was never sent on"


FEW_CONNECTIONS = """
import threading, uvicorn
from importlib import import_module
routes = import_module("router.api.routes")
routes.MOST_DOWNLOADS, routes._downloads = 2, threading.BoundedSemaphore(2)
uvicorn.run("streamlit_app:app", port=0)
"""


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_download_that_is_broken_off_gives_its_place_back(faults: FaultServer, tmp_path: Path, encoding: str) -> None:
    with LogStore(tmp_path / "logs") as store:
        for _ in range(200):
            store.append(made_up(response=randbytes(50_000).hex()))  # far more than a socket holds, compressed too
    accepted = {"Accept-Encoding": encoding}
    with serving(faults, tmp_path, script=FEW_CONNECTIONS) as server:
        for _ in range(3):
            with ExitStack() as clients:
                for _ in range(2):
                    download = server.client.stream("GET", "/logs/prompts.json", headers=accepted)
                    clients.enter_context(download).raise_for_status()
                refused = server.client.get("/logs/prompts.csv")
                assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "busy")
            wait_until(lambda: server.client.get("/logs/prompts.csv").status_code == 200, 10)


def test_many_requests_at_once_get_their_own_answers(faults: FaultServer, client: httpx.Client) -> None:
    for number in range(60):
        faults.script(f"groq:m{number}", Reply(f"Answer {number}.", first_delay=0.3))

    def ask(number: int) -> str:
        response = client.post("/chat", params={"model": f"groq:m{number}"}, json={"prompt": f"Question {number}"})
        assert response.status_code == 200, response.text
        return str(response.json()["response"])

    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(ask, range(60)))
    assert answers == [f"Answer {number}." for number in range(60)]
    logged = {row["prompt"]: row["response"] for row in client.get("/logs/prompts.json").json()}
    assert logged == {f"Question {number}": f"Answer {number}." for number in range(60)}


def test_a_log_that_is_out_of_reach_costs_no_answer(faults: FaultServer, tmp_path: Path) -> None:
    with refusing_url() as nowhere:
        database = nowhere.replace("http://", "postgresql+psycopg://user:hidden-password@") + "/router"
        with serving(faults, tmp_path, DATABASE_URL=database) as server:
            answer = server.client.post("/chat", json={"prompt": "Hi."})
            assert (answer.status_code, answer.json()["response"]) == (200, "Hello there.")
            health = server.client.get("/health")
            assert (health.json()["status"], health.json()["log"]["ok"]) == ("degraded", False)
            assert "DATABASE_URL" in health.json()["log"]["reason"]
            replies = [server.client.get("/logs/prompts.csv"), server.client.get("/logs/prompts.json")]
            assert [reply.status_code for reply in replies] == [503, 503]
            assert replies[0].json()["error"]["kind"] == "log_unavailable"
    assert "hidden-password" not in "".join(server.output) + health.text + "".join(reply.text for reply in replies)

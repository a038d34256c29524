"""Two processes of the app on one PostgreSQL, each with files of its own, as on two machines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from router.log.schema import started
from router.log.store import LogStore
from tests.faults.faults import Fault
from tests.faults.server import FaultServer
from tests.log.support import wait_until
from tests.postgresql import empty_schema
from tests.serving import Server, serving

FILES = ("prompts.csv", "prompts.json")


@dataclass(frozen=True)
class Replica:
    """One of the processes. Its files are in `logs`."""

    server: Server
    logs: Path

    def ask(self, prompt: str) -> str:
        response = self.server.client.post("/chat", json={"prompt": prompt})
        return str(response.raise_for_status().json()["prompt_id"])

    def rate(self, prompt_id: str, score: int) -> None:
        self.server.client.post("/rate", params={"prompt_id": prompt_id, "score": score}).raise_for_status()

    def downloads(self) -> list[bytes]:
        return [self.server.client.get(f"/logs/{name}").raise_for_status().content for name in FILES]

    def files(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.logs.glob("prompts.*"))]

    def ratings(self) -> dict[str, int | None]:
        """By prompt_id, of every interaction, in order."""
        rows = self.server.client.get("/logs/prompts.json").raise_for_status().json()
        return {row["prompt_id"]: row["rating"] for row in rows}


@pytest.fixture
def database_url(postgresql: sa.URL) -> str:
    return empty_schema(postgresql)


@contextmanager
def replica(upstream: FaultServer, folder: Path, database_url: str) -> Iterator[Replica]:
    folder.mkdir(exist_ok=True)
    with serving(upstream, folder, DATABASE_URL=database_url) as server:
        yield Replica(server, folder / "logs")


@pytest.fixture
def replicas(faults: FaultServer, tmp_path: Path, database_url: str) -> Iterator[tuple[Replica, Replica]]:
    with (
        replica(faults, tmp_path / "first", database_url) as first,
        replica(faults, tmp_path / "second", database_url) as second,
    ):
        yield first, second


def test_every_replica_has_what_was_asked_and_rated_on_any(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    asked = [first.ask("One"), second.ask("Two"), first.ask("Three")]
    second.rate(asked[0], 4)
    first.rate(asked[1], 2)
    second.rate(asked[0], 5)
    assert first.ratings() == second.ratings() == dict(zip(asked, [5, 2, None], strict=True))
    truth = first.downloads()
    assert second.downloads() == truth
    wait_until(lambda: first.files() == second.files() == truth, within_s=10)


def test_what_a_killed_replica_had_acknowledged_is_on_the_other_and_on_itself_when_it_is_back(
    replicas: tuple[Replica, Replica], faults: FaultServer, database_url: str
) -> None:
    first, second = replicas
    acknowledged: list[str] = []
    in_full_swing = threading.Event()

    def ask_on() -> None:
        with suppress(httpx.TransportError):
            while True:
                prompt_id = first.ask("Still there?")
                first.rate(prompt_id, 5)
                acknowledged.append(prompt_id)
                if len(acknowledged) >= 20:
                    in_full_swing.set()

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_on) for _ in range(4)]
        in_full_swing.wait(30)
        first.server.kill()
    assert [one.exception() for one in asking] == [None] * 4
    assert len(acknowledged) >= 20
    assert dict.fromkeys(acknowledged, 5).items() <= second.ratings().items()
    second.ask("Going on?")
    truth = second.downloads()
    wait_until(lambda: second.files() == truth, within_s=10)
    with replica(faults, first.logs.parent, database_url) as back:
        # What it was in the middle of is there as well now, as interrupted.
        wait_until(lambda: back.files() == second.downloads(), within_s=10)


def test_the_prompt_that_a_killed_replica_was_answering_is_kept_when_it_is_back(
    replicas: tuple[Replica, Replica], faults: FaultServer, database_url: str, tmp_path: Path
) -> None:
    first, second = replicas
    faults.script("groq", Fault.hang(2))
    with LogStore(tmp_path / "watching", database_url) as watching, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(first.ask, "What was asked")
        wait_until(lambda: len(watching.read(sa.select(started))) == 1, within_s=20)
        first.server.kill()
        assert isinstance(asking.exception(), httpx.TransportError)
    with replica(faults, first.logs.parent, database_url) as back:
        (kept,) = back.server.client.get("/logs/prompts.json").json()
        assert (kept["status"], kept["prompt"]) == ("interrupted", "What was asked")
        assert list(second.ratings()) == [kept["prompt_id"]]

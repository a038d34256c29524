from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from router.errors import LogUnavailable
from router.log.pending import Pending, Record
from router.log.rows import to_row
from router.log.store import LogStore
from tests.log.support import assert_files_equal_table, made_up, wait_until


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


def test_the_queue_keeps_the_newest_within_its_bound_and_counts_the_rest() -> None:
    pending = Pending(limit=3)
    records = [Record(to_row(made_up(prompt_id=str(n))), None) for n in range(5)]
    for record in records:
        pending.add(record)
    assert len(pending) == 3
    assert pending.lost == 2
    assert pending.oldest() == records[2]

"""`python -m router.log delete`: what was deleted is in none of the log's files any more."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from router.log.commands import deleting
from router.log.schema import started
from router.log.store import LogStore
from tests.log.conftest import Command, OpenStore
from tests.log.support import assert_files_equal_table, in_json, made_up, wait_until

_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _fill(store: LogStore, count: int = 30) -> None:
    for number in range(count):
        secret = f"secret-{number:04}"
        store.append(
            made_up(
                prompt_id=f"id-{number:04}",
                timestamp=f"2024-10-{1 + number:02}T12:00:00.000000Z",
                prompt=f"{secret} " * (1 if number % 3 else 300),
                response=secret * (number % 5),
                conversation_id=secret,
                error=secret,
            )
        )
        store.rate(f"id-{number // 2:04}", 1 + number % 5)  # rows change their place as they grow
        if number % 7 == 0:
            store.flush()


def _files_with(folder: Path, numbers: range) -> set[str]:
    """Which files hold anything of the interactions with these numbers: all names, hidden ones too."""
    words = [word.encode() for number in numbers for word in (f"secret-{number:04}", f"id-{number:04}")]
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return {name for name, content in contents.items() if any(word in content for word in words)}


@pytest.fixture
def careless_sqlite() -> Iterator[None]:
    """SQLite as most people have it: what is deleted stays in the file until its room is used again."""

    def leave_remains(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA secure_delete=OFF")

    sa.event.listen(sa.Engine, "connect", leave_remains)
    yield
    sa.event.remove(sa.Engine, "connect", leave_remains)


def test_what_came_in_before_a_date_is_gone_from_every_file(
    command: Command, open_store: OpenStore, tmp_path: Path, careless_sqlite: None
) -> None:
    store = open_store()
    _fill(store)
    store.flush()
    assert _files_with(tmp_path, range(20)) >= {
        "prompts.json",
        "prompts.csv",
        ".prompts.json.next",
        ".prompts.csv.next",
    }
    done = command("delete", "--before", "2024-10-21")
    assert (done.code, done.out, done.said) == (0, b"Deleted 20 interactions.\n", "")
    assert _files_with(tmp_path, range(20)) == set()
    assert [row.interaction.prompt_id for row in store.rows()] == [f"id-{number:04}" for number in range(20, 30)]
    assert_files_equal_table(store, tmp_path)
    _fill(store, 3)
    store.flush()
    assert_files_equal_table(store, tmp_path)


def test_deleting_by_id_takes_the_known_ones_and_names_the_others(
    command: Command, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store()
    _fill(store, 6)
    done = command("delete", "--prompt-id", "id-0002", "nobody", "id-0002", "id-0004", "--yes")
    assert (done.code, done.out) == (1, b"Deleted 2 interactions.\n")
    assert done.said == "No interaction has the prompt_id 'nobody'.\n"
    assert [row["prompt_id"] for row in in_json(tmp_path)] == ["id-0000", "id-0001", "id-0003", "id-0005"]
    assert _files_with(tmp_path, range(2, 3)) == _files_with(tmp_path, range(4, 5)) == set()
    assert_files_equal_table(store, tmp_path)


def test_a_request_that_has_begun_is_forgotten_too(store: LogStore) -> None:
    row = {"host": "elsewhere", "process": "elsewhere", "request": "{}", "timestamp": "2024-10-01T12:00:00.000000Z"}
    with store._database.writing() as connection:
        for prompt_id in ("a", "b"):
            connection.execute(started.insert().values(prompt_id=prompt_id, **row))
    assert store.delete(prompt_ids=["a"]) == 0
    assert [left.prompt_id for left in store.read(sa.select(started))] == ["b"]
    assert store.delete(before="2024-10-02") == 0
    assert store.read(sa.select(started)) == []


def test_other_processes_go_on_while_something_is_deleted(
    command: Command, open_store: OpenStore, database_url: str | None, tmp_path: Path
) -> None:
    store = open_store()
    _fill(store)
    writing = """
import sys
from pathlib import Path
from router.log.store import LogStore
from tests.log.support import made_up

with LogStore(Path(sys.argv[1]), sys.argv[2] or None) as store:
    while True:
        one = made_up(prompt_id=f"new-{store.count()}")
        store.append(one)
        assert store.status().pending == 0
        print(one.prompt_id, flush=True)
"""
    arguments = [sys.executable, "-c", writing, str(tmp_path), database_url or ""]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline()]
        assert command("delete", "--before", "2024-10-01") == (0, b"Deleted 0 interactions.\n", "")
        done = command("delete", "--prompt-id", *(f"id-{number:04}" for number in range(20)))
        assert done == (0, b"Deleted 20 interactions.\n", "")
        assert not {"prompts.json", "prompts.csv"} & _files_with(tmp_path, range(20))
        writer.terminate()
        said += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGTERM, "until then it wrote"
    store.flush()
    kept = {row.interaction.prompt_id for row in store.rows()}
    assert {line.strip() for line in said if line.endswith("\n")} <= kept
    assert_files_equal_table(store, tmp_path)


def test_a_reader_that_holds_the_log_is_named_and_the_next_delete_finishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], careless_sqlite: None
) -> None:
    with LogStore(tmp_path, busy_timeout_s=0.05) as store:
        _fill(store)
        reader = sqlite3.connect(tmp_path / "prompts.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM interactions").fetchone()
        assert deleting.run(store, "2024-10-21", (), ask=False) == 1
        said = capsys.readouterr()
        assert said.out == "Deleted 20 interactions.\n"
        assert "prompts.db-wal" in said.err
        assert _files_with(tmp_path, range(20)) <= {"prompts.db", "prompts.db-wal"}
        reader.execute("COMMIT")
        reader.close()
        assert deleting.run(store, "2024-10-21", (), ask=False) == 0
        assert capsys.readouterr() == ("Deleted 0 interactions.\n", "")
        assert _files_with(tmp_path, range(20)) == set()


@_ON_SQLITE
def test_files_that_were_set_aside_earlier_are_left_and_named(command: Command, tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        _fill(store, 3)
    names = ("prompts.json.kept-20260101T000000.000000Z", "prompts.db.corrupt-20260101T000000.000000Z-wal")
    for name in names:
        (tmp_path / name).write_text("secret-0000")
    done = command("delete", "--before", "2024-10-02")
    assert done.code == 0
    assert all(name in done.said for name in names)
    assert _files_with(tmp_path, range(1)) == set(names)


@_ON_SQLITE
@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, 3), ("\n", 1, 3), ("\x04", 1, 3), ("y\n", 0, 1)])
def test_on_a_terminal_it_asks_first(open_store: OpenStore, tmp_path: Path, answer: str, code: int, left: int) -> None:
    store = open_store()
    _fill(store, 3)
    person, terminal = pty.openpty()
    deletion = subprocess.Popen(
        [sys.executable, "-m", "router.log", "delete", "--before", "2024-10-03"],
        env={**os.environ, "LOG_DIR": str(tmp_path)},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert deletion.stderr is not None
    asked = deletion.stderr.read(len("Delete 2 interactions? [y/N] "))
    assert asked == "Delete 2 interactions? [y/N] "
    assert store.count() == 3
    os.write(person, answer.encode())
    deletion.communicate(timeout=30)
    os.close(person)
    os.close(terminal)
    assert deletion.returncode == code
    assert store.count() == left


@_ON_SQLITE
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "one of the arguments --before --prompt-id is required"),
        ("--before 2024-10-01 --prompt-id a", "not allowed"),
        ("--before 2999-01-01", "in the future"),
        ("--before last-week", "no date"),
        ("--prompt-id", "expected at least one argument"),
    ],
)
def test_what_to_delete_must_be_clear(command: Command, options: str, message: str) -> None:
    done = command("delete", *options.split())
    assert done.code == 2
    assert message in done.said


def test_a_copy_that_was_never_followed_again_is_not_kept(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        _fill(store, 4)
        store.flush()
        store.delete(prompt_ids=["id-0001"])
        assert not _files_with(tmp_path, range(1, 2)) & {".prompts.json.next", ".prompts.csv.next"}
        store.append(made_up())
        wait_until(lambda: (tmp_path / ".prompts.json.next").exists(), within_s=5)
        store.flush()
        assert_files_equal_table(store, tmp_path)

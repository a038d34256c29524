from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.log.interaction import COLUMNS
from router.log.store import LogStore
from tests.log.conftest import OpenStore
from tests.log.support import assert_files_equal_table, in_csv, in_json, made_up, wait_until


@pytest.fixture
def store(open_store: OpenStore) -> LogStore:
    return open_store()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> LogStore:
    with LogStore(tmp_path) as store:
        yield store


def test_an_empty_log_is_an_empty_array_and_a_header(store: LogStore, tmp_path: Path) -> None:
    store.flush()
    assert in_json(tmp_path) == []
    assert (tmp_path / "prompts.csv").read_text() == ",".join([*COLUMNS, "seq"]) + "\n"
    assert pd.read_csv(tmp_path / "prompts.csv").empty


def test_an_interaction_shows_in_both_files_within_a_second(store: LogStore, tmp_path: Path) -> None:
    one = made_up()
    store.append(one)
    wait_until(lambda: (tmp_path / "prompts.csv").exists() and len(in_csv(tmp_path)) == 1, within_s=1.0)
    assert_files_equal_table(store, tmp_path)


def test_a_rating_shows_in_both_files_and_can_be_overwritten_and_withdrawn(store: LogStore, tmp_path: Path) -> None:
    rows = [made_up(response="x" * (n * 1000)) for n in range(12)]
    for one in rows:
        store.append(one)
    store.flush()
    for rating in (5, None, 2):
        for one in (rows[0], rows[5], rows[-1]):
            store.rate(one.prompt_id, rating)
        store.flush()
        assert_files_equal_table(store, tmp_path)
        assert [row["rating"] for row in in_json(tmp_path)].count(rating) >= 3
    assert [row["rating"] for row in in_csv(tmp_path)].count("2") == 3


def test_pandas_reads_both_files_with_the_right_rows_and_columns(sqlite_store: LogStore, tmp_path: Path) -> None:
    nasty = [
        "=cmd|' /C calc'!A0",
        "a\r\nb\rc\n\nd",
        'say "hi", then; \t',
        "😀 東京 \u2028",
        "-1+1",
        "@x",
        ",",
        '"',
        "\r",
    ]
    for number, text in enumerate(nasty):
        sqlite_store.append(made_up(prompt=text, response=text * 2, template=text, rating=1 + number % 5))
    sqlite_store.flush()
    from_csv, from_json = pd.read_csv(tmp_path / "prompts.csv"), pd.read_json(tmp_path / "prompts.json")
    assert list(from_csv.columns) == list(from_json.columns) == [*COLUMNS, "seq"]
    assert len(from_csv) == len(from_json) == len(nasty)
    assert list(from_csv.rating) == list(from_json.rating) == [1 + number % 5 for number in range(len(nasty))]
    assert list(from_json.prompt) == nasty
    assert from_csv.seq.dtype == "int64"
    assert not from_csv.prompt.str.startswith(("=", "+", "-", "@", "\t", "\r")).any()


_TEXT = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("=+-@\t\r\n\"',;\\ \u2028\x85\x0b\0")), max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.one_of(_TEXT, st.tuples(st.integers(0, 10), st.one_of(st.none(), st.integers(1, 5)))), max_size=12
    )
)
def test_after_any_changes_both_files_equal_the_table(
    tmp_path: Path, sqlite_store: LogStore, changes: list[str | tuple[int, int | None]]
) -> None:
    ids = [row.interaction.prompt_id for row in sqlite_store.rows()]
    for change in changes:
        if isinstance(change, str):
            one = made_up(prompt=change, response=change[::-1] * 3, error=change, params={change: change})
            sqlite_store.append(one)
            ids.append(one.prompt_id)
        elif ids:
            sqlite_store.rate(ids[change[0] % len(ids)], change[1])
    sqlite_store.flush()
    assert_files_equal_table(sqlite_store, tmp_path)


def test_a_deleted_file_comes_back(store: LogStore, tmp_path: Path) -> None:
    store.append(made_up())
    store.flush()
    for name in os.listdir(tmp_path):
        if "prompts.json" in name:
            (tmp_path / name).unlink(missing_ok=True)  # the follower may just be renaming it
    (tmp_path / "prompts.csv").unlink(missing_ok=True)
    store.flush()
    assert_files_equal_table(store, tmp_path)


@pytest.mark.parametrize("name", ["prompts.json", "prompts.csv", ".prompts.json.next", ".prompts.csv.next"])
@pytest.mark.parametrize("damage", [b"", b"x" * 5000])
def test_a_file_that_was_edited_or_torn_is_made_anew(
    sqlite_store: LogStore, tmp_path: Path, name: str, damage: bytes
) -> None:
    for _ in range(3):
        sqlite_store.append(made_up())
        sqlite_store.flush()
    (tmp_path / name).write_bytes(damage)
    sqlite_store.append(made_up())
    sqlite_store.flush()
    assert_files_equal_table(sqlite_store, tmp_path)


_FOLLOWS_UNTIL_A_FILE_HAS = """
import resource, signal, sys
from pathlib import Path
from router.log.store import LogStore

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
LogStore(Path(sys.argv[1])).flush()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit that ends a process in mid-write.")
def test_a_copy_that_a_killed_process_left_torn_is_finished_and_not_made_anew(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        for number in range(3):
            store.append(made_up(prompt_id=str(number), response="x" * 300_000))
            store.flush()
    with LogStore(tmp_path, mirror=False) as store:
        store.rate("0", 5)
        store.append(made_up(prompt_id="3", response="y" * 3_000_000))
    limit = (tmp_path / "prompts.json").stat().st_size + 1_000_000
    killed = subprocess.run([sys.executable, "-c", _FOLLOWS_UNTIL_A_FILE_HAS, str(tmp_path), str(limit)], check=False)
    assert killed.returncode == -signal.SIGXFSZ
    assert [(row["prompt_id"], row["rating"]) for row in in_json(tmp_path)] == [("0", None), ("1", None), ("2", None)]
    torn = (tmp_path / ".prompts.json.next").stat()
    assert torn.st_size == limit
    with LogStore(tmp_path) as store:
        store.flush()
        assert_files_equal_table(store, tmp_path)
    assert (tmp_path / "prompts.json").stat().st_ino == torn.st_ino


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit that ends a process in mid-write.")
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_torn_copy_that_someone_else_cut_or_took_away_is_made_anew(tmp_path: Path, how: str) -> None:
    with LogStore(tmp_path) as store:
        for number in range(3):
            store.append(made_up(prompt_id=str(number), response="x" * 300_000))
            store.flush()
    with LogStore(tmp_path, mirror=False) as store:
        store.rate("2", 5)
        store.append(made_up(prompt_id="3", response="y" * 3_000_000))
    limit = (tmp_path / "prompts.json").stat().st_size + 1_000_000
    subprocess.run([sys.executable, "-c", _FOLLOWS_UNTIL_A_FILE_HAS, str(tmp_path), str(limit)], check=False)
    if how == "cut":
        os.truncate(tmp_path / ".prompts.json.next", 500)
    else:
        (tmp_path / ".prompts.json.next").unlink()
    with LogStore(tmp_path) as store:
        store.flush()
        assert_files_equal_table(store, tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file.")
def test_a_copy_for_which_there_is_no_room_does_not_take_the_room_that_is_left(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        for _ in range(2):
            store.append(made_up(response="x" * 500_000))
            store.flush()
    (tmp_path / ".prompts.json.next").unlink()
    with LogStore(tmp_path, mirror=False) as store:
        store.append(made_up())
    limit = (tmp_path / "prompts.json").stat().st_size // 2
    refused = subprocess.run(
        [sys.executable, "-c", _FOLLOWS_UNTIL_A_FILE_HAS.replace("SIG_DFL", "SIG_IGN"), str(tmp_path), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "LogUnavailable" in refused.stderr
    assert not (tmp_path / ".prompts.json.next").exists()


def test_an_edit_that_keeps_the_size_is_noticed(sqlite_store: LogStore, tmp_path: Path) -> None:
    sqlite_store.append(made_up(response="Things fall."))
    sqlite_store.flush()
    path = tmp_path / "prompts.json"
    path.write_bytes(path.read_bytes().replace(b"Things fall.", b"Things rise."))
    sqlite_store.flush()
    assert_files_equal_table(sqlite_store, tmp_path)


def test_files_of_another_database_are_kept_under_a_dated_name(tmp_path: Path) -> None:
    before = made_up(prompt="from before")
    with LogStore(tmp_path) as store:
        store.append(before)
    (tmp_path / "prompts.db").unlink()
    with LogStore(tmp_path) as store:
        store.append(made_up(prompt="from now"))
        store.flush()
        assert_files_equal_table(store, tmp_path)
        store.rate(store.page()[0].interaction.prompt_id, 1)
    (kept,) = tmp_path.glob("prompts.json.kept-*")
    assert [row["prompt_id"] for row in json.loads(kept.read_bytes())] == [before.prompt_id]
    (kept,) = tmp_path.glob("prompts.csv.kept-*")
    assert before.prompt_id in kept.read_text()


def test_files_that_someone_else_put_there_are_kept(tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text('[{"prompt": "mine", "response": "a file from another program"}]')
    with LogStore(tmp_path) as store:
        store.flush()
    (kept,) = tmp_path.glob("prompts.json.kept-*")
    assert json.loads(kept.read_text())[0]["prompt"] == "mine"
    assert in_json(tmp_path) == []


def test_a_copy_rests_after_a_swap_so_that_who_has_just_opened_it_can_read_it(store: LogStore, tmp_path: Path) -> None:
    swapped = []
    for _ in range(3):
        store.append(made_up())
        store.flush()
        swapped.append((tmp_path / ".prompts.json.state").stat().st_mtime)
    assert min(later - earlier for earlier, later in pairwise(swapped)) >= 0.1


def test_files_follow_a_table_that_was_restored_from_a_backup(sqlite_store: LogStore, tmp_path: Path) -> None:
    for _ in range(3):
        sqlite_store.append(made_up())
        sqlite_store.flush()
    with sqlite_store._database.writing() as connection:
        connection.execute(sa.text("UPDATE clock SET rev = 1, seq = 1"))
        connection.execute(sa.text("DELETE FROM interactions WHERE seq > 1"))
    sqlite_store.flush()
    assert_files_equal_table(sqlite_store, tmp_path)
    assert len(in_json(tmp_path)) == 1


def test_files_follow_a_table_that_was_restored_and_has_overtaken_them_since(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    with LogStore(tmp_path / "a", url) as store:
        store.append(made_up(prompt_id="kept"))
    shutil.copy(tmp_path / "shared.db", tmp_path / "backup.db")
    with LogStore(tmp_path / "a", url) as store:
        store.append(made_up(prompt_id="lost with the restore"))
    shutil.copy(tmp_path / "backup.db", tmp_path / "shared.db")
    with LogStore(tmp_path / "b", url) as store:
        for _ in range(5):
            store.append(made_up())
    with LogStore(tmp_path / "a", url) as store:
        store.flush()
        assert_files_equal_table(store, tmp_path / "a")


def test_files_follow_where_there_are_no_hard_links(
    sqlite_store: LogStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    one = made_up()
    sqlite_store.append(one)
    sqlite_store.flush()
    sqlite_store.rate(one.prompt_id, 3)
    sqlite_store.append(made_up())
    sqlite_store.flush()
    assert_files_equal_table(sqlite_store, tmp_path)


def test_what_another_process_wrote_shows_in_the_files_of_this_one(open_store: OpenStore, tmp_path: Path) -> None:
    open_store(mirror=True).flush()
    one = made_up()
    open_store(mirror=False).append(one)
    wait_until(lambda: [row["prompt_id"] for row in in_json(tmp_path)] == [one.prompt_id], within_s=1.5)


def test_a_log_whose_files_another_process_is_still_building_is_not_degraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.log.mirror._LOCK_TIMEOUT_S", 0.2)
    other = FileLock(tmp_path / ".mirror.lock")
    other.acquire()
    with LogStore(tmp_path) as store:
        building_until = time.monotonic() + 1
        while time.monotonic() < building_until:
            (tmp_path / ".prompts.json.next").touch()
            assert store.status().ok
        wait_until(lambda: not store.status().ok, within_s=5)  # for nobody writes to it any more
        assert "LOG_DIR" in (store.status().reason or "")
        other.release()
        wait_until(lambda: store.status().ok, within_s=5)
        store.append(made_up())
        store.flush()
        assert_files_equal_table(store, tmp_path)


def test_closing_leaves_the_files_up_to_date(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        for _ in range(50):
            store.append(made_up())
    assert len(in_json(tmp_path)) == len(in_csv(tmp_path)) == 50

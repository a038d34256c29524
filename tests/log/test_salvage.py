from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from filelock import FileLock

from router.errors import LogUnavailable
from router.log import damaged, schema, sqlite
from router.log.database import Database
from router.log.interaction import Interaction
from router.log.rows import to_row
from router.log.salvage import Salvage
from router.log.store import LogStore
from router.log.writer import Writer
from tests.log.damage import PAGE_BYTES, change, index_leaves, inner_pages, leaves_with, noise, overwrite
from tests.log.support import assert_files_equal_table, made_up, wait_until


def _fill(log_dir: Path, count: int = 200, **changed: object) -> list[Interaction]:
    """A log of so many interactions, closed: every third of them rated."""
    rows = [made_up(response="x" * (number % 7 * 300), **changed) for number in range(count)]
    rows = [replace(one, rating=None if number % 3 else 1 + number % 5) for number, one in enumerate(rows)]
    with LogStore(log_dir, mirror=False) as store:
        store.add_all([to_row(one) for one in rows])
    return rows


def _kept(log_dir: Path) -> Path:
    (kept,) = (path for path in log_dir.glob("prompts.db.corrupt-*") if path.name.endswith("Z"))
    return kept


def _is_over(store: LogStore) -> bool:
    return "brought over from it: " in (store.status().notice or "")


def _in_table(store: LogStore) -> dict[str, Interaction]:
    return {row.interaction.prompt_id: row.interaction for row in store.rows()}


def test_a_bad_page_loses_its_own_rows_and_nothing_else(tmp_path: Path) -> None:
    rows = _fill(tmp_path)
    leaves = leaves_with(tmp_path / "prompts.db", {one.prompt_id for one in rows})
    numbers = sorted(leaves)
    bad = [numbers[0], *numbers[5:8], numbers[20], numbers[-1]]
    lost = set().union(*(leaves[number] for number in bad))
    before = overwrite(tmp_path / "prompts.db", bad)
    with LogStore(tmp_path) as store:
        new = made_up()
        store.append(new)
        wait_until(lambda: _is_over(store), within_s=10)
        assert _in_table(store) == {one.prompt_id: one for one in [*rows, new] if one.prompt_id not in lost}
        kept = _kept(tmp_path)
        assert store.status().notice == (
            f"The database was damaged. It was set aside as {kept.name} and a new one was begun. "
            f"Interactions brought over from it: {len(rows) - len(lost)}."
        )
        assert kept.read_bytes() == before
        store.flush()
        assert store.status().ok
        assert_files_equal_table(store, tmp_path)


def test_bad_indexes_lose_nothing(tmp_path: Path) -> None:
    rows = _fill(tmp_path)
    overwrite(tmp_path / "prompts.db", index_leaves(tmp_path / "prompts.db"))
    with LogStore(tmp_path, mirror=False) as store:
        store.append(made_up(prompt_id="new"))
        wait_until(lambda: _is_over(store), within_s=10)
        found = _in_table(store)
        assert {one.prompt_id: one for one in rows} == {key: one for key, one in found.items() if key != "new"}


@pytest.mark.parametrize("seed", range(4))
def test_a_wildly_damaged_file_comes_to_an_end_and_yields_nothing_made_up(tmp_path: Path, seed: int) -> None:
    rows = {one.prompt_id: one for one in _fill(tmp_path)}
    database = tmp_path / "prompts.db"
    pages = [*inner_pages(database)[seed % 2 :], *sorted(leaves_with(database, set(rows)))[seed::3]]
    overwrite(database, [number for number in pages if number], noise(seed))
    with LogStore(tmp_path, mirror=False) as store:
        store.append(made_up(prompt_id="new"))
        with suppress(LogUnavailable):
            list(store.rows())
        wait_until(lambda: _is_over(store), within_s=60)
        found = _in_table(store)
        del found["new"]
        assert found == {prompt_id: rows[prompt_id] for prompt_id in found}


def test_a_file_without_a_header_yields_nothing_and_is_not_tried_again(tmp_path: Path) -> None:
    _fill(tmp_path)
    overwrite(tmp_path / "prompts.db", [0])
    with LogStore(tmp_path, mirror=False) as store:
        store.append(made_up(prompt_id="new"))
        wait_until(lambda: _is_over(store), within_s=10)
        assert (store.status().notice or "").endswith("brought over from it: 0.")
        assert list(_in_table(store)) == ["new"]
    with LogStore(tmp_path, mirror=False) as store:
        assert store._salvage.under_way() == []
        assert store.status().notice is None


_GARBAGE = {
    "a number that is a text": "token_count = 'many'",
    "a text that is none": "prompt = x'ff00'",
    "a text that is not UTF-8": "response = CAST(x'ff41' AS TEXT)",
    "a text with a NUL": "model = CAST(x'4100' AS TEXT)",
    "JSON that is none": "params = '{'",
    "another kind of JSON": "attempts = '[{\"what\": 1}]'",
    "a list for an object": "params = '[]'",
    "an unknown status": "status = 'okay'",
    "a rating that does not exist": "rating = 77",
    "no moment": "timestamp = 'soon'",
    "nothing where there must be something": "provider = NULL",
}


def test_rows_that_can_be_no_interactions_are_left_out(tmp_path: Path) -> None:
    rows = _fill(tmp_path)
    database = tmp_path / "prompts.db"
    change(
        database,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'provider TEXT NOT NULL', 'provider TEXT')",
    )
    for seq, how in enumerate(_GARBAGE.values(), start=1):
        change(database, f"UPDATE interactions SET {how} WHERE seq = {10 * seq}")
    overwrite(database, index_leaves(database))
    with LogStore(tmp_path, mirror=False) as store:
        store.append(made_up(prompt_id="new"))
        wait_until(lambda: _is_over(store), within_s=10)
        left_out = {rows[10 * seq - 1].prompt_id: how for seq, how in enumerate(_GARBAGE, start=1)}
        taken = _in_table(store)
        assert [how for prompt_id, how in left_out.items() if prompt_id in taken] == []
        assert len(taken) == len(rows) - len(_GARBAGE) + 1


@pytest.mark.parametrize("damaged_number", [2, 120])
def test_a_row_whose_number_is_damaged_costs_no_other_row(tmp_path: Path, damaged_number: int) -> None:
    rows = _fill(tmp_path, 40)
    database = tmp_path / "prompts.db"
    (number,) = (page for page, ids in leaves_with(database, {rows[20].prompt_id}).items() if ids)
    content = bytearray(database.read_bytes())
    page = content[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]
    # The cell of a row begins with its length, in two bytes here, and its number, in one.
    cells = [int.from_bytes(page[at : at + 2], "big") for at in range(8, 8 + 2 * page[4], 2)]
    (cell,) = (cell for cell in cells if page[cell + 2] == 21)
    assert len(cells) > 2
    content[number * PAGE_BYTES + cell + 2] = damaged_number
    database.write_bytes(content)
    with closing(damaged.connect(database)) as file:
        found = list(damaged.readable_interactions(file, 1, 100))
    assert {row["prompt_id"] for _, row in found if row} == {one.prompt_id for one in rows}
    assert max(seq for seq, _ in found) <= 40


def test_rows_in_the_wal_are_brought_over_and_neither_file_is_changed(tmp_path: Path) -> None:
    rows = _fill(tmp_path)
    database, wal = tmp_path / "prompts.db", tmp_path / "prompts.db-wal"
    leaves = leaves_with(database, {one.prompt_id for one in rows})
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM interactions LIMIT 1").fetchone()
        with LogStore(tmp_path, mirror=False) as store:
            late = made_up(prompt_id="late")
            store.append(late)
        assert b"late" in wal.read_bytes()
        bad = max(leaves, key=lambda number: len(leaves[number]))
        before = overwrite(database, [bad]), wal.read_bytes()
        with LogStore(tmp_path, mirror=False) as store:
            with pytest.raises(LogUnavailable):
                list(store.rows())
            wait_until(lambda: _is_over(store), within_s=10)
            assert _in_table(store) == {one.prompt_id: one for one in [*rows, late] if one.prompt_id not in leaves[bad]}
        kept = _kept(tmp_path)
        assert (kept.read_bytes(), kept.with_name(f"{kept.name}-wal").read_bytes()) == before


def test_the_follower_that_meets_the_damage_has_the_rest_brought_over(tmp_path: Path) -> None:
    rows = _fill(tmp_path)
    leaves = leaves_with(tmp_path / "prompts.db", {one.prompt_id for one in rows})
    bad = sorted(leaves)[10]
    overwrite(tmp_path / "prompts.db", [bad])
    with LogStore(tmp_path) as store:
        wait_until(lambda: _is_over(store), within_s=10)
        assert _in_table(store).keys() == {one.prompt_id for one in rows} - leaves[bad]
        store.flush()
        assert store.status().ok
        assert_files_equal_table(store, tmp_path)


def test_a_reader_that_meets_the_damage_has_the_rest_brought_over(tmp_path: Path) -> None:
    rows = _fill(tmp_path)
    leaves = leaves_with(tmp_path / "prompts.db", {one.prompt_id for one in rows})
    with LogStore(tmp_path, mirror=False) as store:
        overwrite(tmp_path / "prompts.db", [sorted(leaves)[10]])
        with pytest.raises(LogUnavailable, match=r"set aside .* Try again"):
            store.read(sa.select(sa.func.sum(sa.func.length(schema.interactions.c.response))))
        wait_until(lambda: _is_over(store), within_s=10)
        assert _in_table(store).keys() == {one.prompt_id for one in rows} - leaves[sorted(leaves)[10]]


def test_the_texts_of_templates_and_the_requests_that_had_begun_come_along(tmp_path: Path) -> None:
    with LogStore(tmp_path, mirror=False) as store:
        store.append(made_up(template_version="v7"), "Say it kindly: {prompt}")
        for prompt_id in ("cut short", "cut and damaged"):
            store.begin(
                made_up(prompt_id=prompt_id, response="", template_version="v8"), "Say it: {prompt}", lasts_s=60
            )
            store.keep(prompt_id)
        with store._database.writing() as connection:
            connection.execute(schema.started.update().values(process="/of/a/dead/process"))
            of_one = schema.started.c.prompt_id == "cut and damaged"
            connection.execute(schema.started.update().where(of_one).values(request="{"))
    overwrite(tmp_path / "prompts.db", index_leaves(tmp_path / "prompts.db"))
    with LogStore(tmp_path, mirror=False) as store:
        with pytest.raises(LogUnavailable):
            store.get("by its index")
        wait_until(lambda: _is_over(store), within_s=10)
    with LogStore(tmp_path, mirror=False) as store:
        assert store.template_text("v7") == "Say it kindly: {prompt}"
        assert store.get("cut short").status == "interrupted"
        assert store.template_text("v8") == "Say it: {prompt}"
        assert store.count() == 2


def test_an_index_that_does_not_fit_its_table_is_damage(tmp_path: Path) -> None:
    database = tmp_path / "prompts.db"
    rows = _fill(tmp_path, 5)
    before = database.read_bytes()
    with LogStore(tmp_path, mirror=False) as store:
        store.rate(rows[0].prompt_id, 5)
    assert not sqlite.is_damaged(database)
    stale = iter(before[at * PAGE_BYTES : (at + 1) * PAGE_BYTES] for at in index_leaves(database))
    overwrite(database, index_leaves(database), lambda: next(stale))  # as when a disk loses a write
    assert sqlite.is_damaged(database)


@pytest.fixture
def without_follower(tmp_path: Path) -> tuple[Database, Writer]:
    """A log of 200 interactions whose indexes are damaged, and that has just been set aside."""
    _fill(tmp_path)
    overwrite(tmp_path / "prompts.db", index_leaves(tmp_path / "prompts.db"))
    database = Database(tmp_path, None, busy_timeout_s=5)
    writer = Writer(database)
    writer.add_all([to_row(made_up(prompt_id="new"))])
    return database, writer


def test_what_one_process_left_the_next_one_takes_up_where_it_was(
    tmp_path: Path, without_follower: tuple[Database, Writer]
) -> None:
    database, writer = without_follower

    def process() -> Salvage:
        return Salvage(database.file, tmp_path / ".salvage.lock", writer.add_all, writer.restore)

    def prompt_ids() -> list[str]:
        with database.reading() as connection:
            return list(connection.scalars(sa.select(schema.interactions.c.prompt_id)))

    assert process().step(0) is True
    (first,) = set(prompt_ids()) - {"new"}
    writer.delete(None, [first])
    second = process()
    while second.step(0.0):
        pass
    assert len(prompt_ids()) == 200
    assert first not in prompt_ids()
    assert second.under_way() == []
    assert (second.notice or "").endswith("brought over from it: 200.")
    database.close()


def test_closing_in_the_midst_is_prompt_and_the_next_start_goes_on(
    tmp_path: Path, without_follower: tuple[Database, Writer]
) -> None:
    without_follower[0].close()
    with FileLock(tmp_path / ".salvage.lock"), LogStore(tmp_path, mirror=False) as store:
        wait_until(lambda: store.status().notice is not None, within_s=5)
        assert (store.status().notice or "").endswith("brought over from it so far: 0.")
    with LogStore(tmp_path, mirror=False) as store:
        wait_until(lambda: _is_over(store), within_s=10)
        assert store.count() == 201


def test_what_is_deleted_meanwhile_does_not_come_back(
    tmp_path: Path, without_follower: tuple[Database, Writer]
) -> None:
    with closing(without_follower[0]), closing(sqlite3.connect(_kept(tmp_path))) as kept:
        (first, last) = kept.execute("SELECT min(prompt_id), max(prompt_id) FROM interactions NOT INDEXED").fetchone()
    with LogStore(tmp_path, mirror=False) as store:
        assert store.delete(prompt_ids=[first, last]) == 2
        wait_until(lambda: _is_over(store), within_s=10)
        assert store.count() == 199
    with LogStore(tmp_path, mirror=False) as store:
        assert store.count() == 199


def test_a_delete_that_meets_the_damage_deletes_from_what_is_brought_over(tmp_path: Path) -> None:
    rows = [made_up() for _ in range(100)]
    with LogStore(tmp_path, mirror=False) as store:
        store.add_all([to_row(one) for one in rows])
    database = tmp_path / "prompts.db"
    overwrite(database, index_leaves(database))
    with LogStore(tmp_path, mirror=False) as store:
        assert store.delete(prompt_ids=[rows[0].prompt_id]) == 1
        assert [row.interaction for row in store.rows()] == rows[1:]
    with LogStore(tmp_path, mirror=False) as store:
        assert store.count() == 99


def test_a_rating_of_what_is_still_missing_is_asked_for_again(
    tmp_path: Path, without_follower: tuple[Database, Writer]
) -> None:
    with closing(without_follower[0]), closing(sqlite3.connect(_kept(tmp_path))) as kept:
        (prompt_id,) = kept.execute("SELECT prompt_id FROM interactions NOT INDEXED WHERE seq = 200").fetchone()
    by_another_process = FileLock(tmp_path / ".salvage.lock")
    missing = pytest.raises(LogUnavailable, match="still missing")
    with by_another_process, LogStore(tmp_path, mirror=False) as store, missing:
        store.rate(prompt_id, 5)
    with LogStore(tmp_path, mirror=False) as store:
        wait_until(lambda: _is_over(store), within_s=10)
        store.rate(prompt_id, 5)
        assert store.get(prompt_id).rating == 5


_WRITER = """
import sys
from pathlib import Path
from router.log.store import LogStore
from tests.log.support import made_up, wait_until

with LogStore(Path(sys.argv[1])) as store:
    store.append(made_up(prompt_id=sys.argv[2]))
    assert store.status().pending == 0, store.status()
    print("acknowledged", flush=True)
    wait_until(lambda: store._salvage.under_way() == [] and store.status().ok, within_s=30)
    sys.stdin.readline()
"""


def test_of_several_processes_on_a_damaged_log_each_goes_on_and_one_copy_is_kept(tmp_path: Path) -> None:
    rows = _fill(tmp_path)
    overwrite(tmp_path / "prompts.db", index_leaves(tmp_path / "prompts.db"))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), f"of writer {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "acknowledged\n"
    for writer in writers:
        writer.communicate("\n", timeout=60)
        assert writer.returncode == 0
    _kept(tmp_path)
    with LogStore(tmp_path) as store:
        expected = {one.prompt_id for one in rows} | {f"of writer {number}" for number in range(3)}
        assert _in_table(store).keys() == expected
        store.flush()
        assert_files_equal_table(store, tmp_path)


def test_a_write_that_ends_in_a_file_that_was_just_set_aside_is_made_in_the_new_one(tmp_path: Path) -> None:
    with LogStore(tmp_path, mirror=False) as store:
        store.append(made_up(prompt_id="before"))
        wait_until(lambda: store.count() == 1, within_s=5)

        def as_another_process_does(_: object) -> None:
            for suffix in ("-wal", "-shm", ""):
                if (tmp_path / f"prompts.db{suffix}").exists():
                    os.rename(tmp_path / f"prompts.db{suffix}", tmp_path / f"aside{suffix}")

        engine = store._database._open().engine
        sa.event.listen(engine, "commit", as_another_process_does)
        store.append(made_up(prompt_id="in between"))
        assert store.status().ok
        assert list(_in_table(store)) == ["in between"]
        with closing(sqlite3.connect(tmp_path / "aside")) as aside:
            acknowledged = aside.execute("SELECT prompt_id FROM interactions ORDER BY seq").fetchall()
        assert acknowledged == [("before",), ("in between",)]


def test_a_conversation_is_in_order_after_its_beginning_was_brought_over(tmp_path: Path) -> None:
    turns = [
        made_up(prompt_id=f"turn {n}", conversation_id="c", timestamp=f"2026-10-0{n}T12:00:00Z") for n in (1, 2, 3)
    ]
    with LogStore(tmp_path, mirror=False) as store:
        store.append(turns[0])
        store.append(turns[1])
    overwrite(tmp_path / "prompts.db", index_leaves(tmp_path / "prompts.db"))
    with LogStore(tmp_path, mirror=False) as store:
        store.append(turns[2])
        wait_until(lambda: _is_over(store), within_s=10)
        assert store.conversation("c") == turns


def test_progress_that_a_crash_tore_is_begun_again(tmp_path: Path, without_follower: tuple[Database, Writer]) -> None:
    without_follower[0].close()
    (note,) = tmp_path.glob(".prompts.db.corrupt-*.salvage")
    assert json.loads(note.read_text())["done"] is False
    note.write_text('{"seq": 1')
    with LogStore(tmp_path, mirror=False) as store:
        wait_until(lambda: _is_over(store), within_s=10)
        assert store.count() == 201

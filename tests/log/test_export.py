from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from router.errors import LogUnavailable
from router.log.export import csv_chunks, json_chunks
from router.log.filter import Filter
from router.log.rows import to_row
from router.log.store import LogStore
from tests.log.support import made_up


def test_a_full_export_is_byte_for_byte_the_mirrored_file(tmp_path: Path) -> None:
    with LogStore(tmp_path) as store:
        for number in range(30):
            store.append(made_up(prompt=f'=\r\n"{number}" 東京', rating=number % 6 or None))
        store.flush()
        assert b"".join(csv_chunks(store)) == (tmp_path / "prompts.csv").read_bytes()
        assert b"".join(json_chunks(store)) == (tmp_path / "prompts.json").read_bytes()


def test_an_export_holds_what_passes_the_filter_in_order(store: LogStore) -> None:
    for number in range(10):
        store.append(made_up(prompt_id=str(number), model="odd" if number % 2 else "even"))
    only_odd = Filter(models=("odd",))
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_chunks(store, only_odd)).decode(), newline="")))
    assert [row["prompt_id"] for row in rows] == list("13579")
    assert [row["prompt_id"] for row in json.loads(b"".join(json_chunks(store, only_odd)))] == list("13579")


def test_an_export_of_nothing_is_an_empty_array_and_a_header(store: LogStore) -> None:
    assert json.loads(b"".join(json_chunks(store))) == []
    assert b"".join(csv_chunks(store)).startswith(b"prompt_id,timestamp,")
    assert b"".join(csv_chunks(store)).count(b"\r\n") == 1


@pytest.mark.parametrize("chunks", [csv_chunks, json_chunks])
def test_an_export_needs_little_memory_however_long_the_log_is(tmp_path: Path, chunks) -> None:  # type: ignore[no-untyped-def]
    with LogStore(tmp_path, mirror=False) as store:
        for _ in range(160):
            store.append(made_up(response="x" * 200_000))
        list(chunks(store, Filter(models=("none",))))
        tracemalloc.start()
        total = sum(map(len, chunks(store)))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert total > 32_000_000
    assert peak < 16_000_000


def test_who_reads_slowly_keeps_no_room_in_the_database(tmp_path: Path) -> None:
    with LogStore(tmp_path, mirror=False) as store:
        before = [made_up() for _ in range(120)]
        for one in before:
            store.append(one)
        rows = store.rows()
        read = [next(rows)]
        store.append(made_up())
        with closing(sqlite3.connect(tmp_path / "prompts.db")) as outside:
            assert outside.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        assert (tmp_path / "prompts.db-wal").stat().st_size == 0
        read += rows
        assert [row.interaction for row in read] == before, "and what came later is left out"


def test_an_export_is_read_in_pieces_that_fit_together(store: LogStore) -> None:
    sizes = [10] * 300 + [30_000] * 80 + [10] * 300
    ids = [f"{number:04}" for number in range(len(sizes))]
    store.add_all([to_row(made_up(prompt_id=id_, response="x" * size)) for id_, size in zip(ids, sizes, strict=True)])
    assert [row.interaction.prompt_id for row in store.rows()] == ids


def test_an_export_from_two_databases_is_none(tmp_path: Path) -> None:
    with LogStore(tmp_path, mirror=False) as store, LogStore(tmp_path / "other", mirror=False) as other:
        for one in (store, other):
            one.add_all([to_row(made_up()) for _ in range(120)])
        rows = store.rows()
        next(rows)
        other.close()
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"prompts.db{suffix}").unlink()
        os.replace(tmp_path / "other" / "prompts.db", tmp_path / "prompts.db")
        with pytest.raises(LogUnavailable, match="replaced"):
            list(rows)

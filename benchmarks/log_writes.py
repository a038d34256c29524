"""What it costs to append and to rate, at few and at many rows: `python -m benchmarks.log_writes --keep FOLDER`.

The floor is measured in the same minute, turn about: one `fdatasync` of 4 KB at the end of a file in the same folder,
and the same row written by hand, one INSERT and its commit, by `sqlite3` (WAL, synchronous=FULL) or `psycopg`.
With the mirror on, a turn of ten writes runs against the thread that brings the files up to date; the next turn begins
when the files are current.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.common import interleaved, median, ms, p95, print_table
from benchmarks.log_common import DATABASES, Place, Places, example, options, places, prompt_id, wait_until_current
from router.log.rows import to_row
from router.log.store import LogStore

FEW = 1_000
TURN = 10
WARM_UP = 500
"""Writes before the first that counts: SQLite's WAL, which then no longer grows, has been filled once."""

Turn = Callable[[], list[float]]


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, rows=1_000_000, writes=500)
    with places(chosen) as made:
        for database in made.databases:
            for mirror in (False, True):
                report(database, mirror, measure(made, database, mirror, chosen.rows, chosen.writes), chosen.rows)


def measure(made: Places, database: str, mirror: bool, many: int, writes: int) -> dict[str, list[float]]:
    """Seconds of every write, by what was done."""
    contenders: dict[str, Turn] = {}
    with ExitStack() as stack:
        for rows in (FEW, many):
            place = stack.enter_context(made.log(database, rows))
            store = stack.enter_context(place.open(mirror=mirror))
            if mirror:
                wait_until_current(store)
            if not contenders:
                contenders["fdatasync"] = turn_of(stack.enter_context(synced_file(place.folder)))
                contenders["raw"] = turn_of(stack.enter_context(raw_inserts(place)))
            contenders[f"append {rows}"] = turn_of(appends(store), store if mirror else None)
            contenders[f"rate {rows}"] = turn_of(ratings(store, rows), store if mirror else None)
        turns = interleaved(contenders, writes // TURN, warm_up=1)
    return {name: [seconds for turn in some for seconds in turn] for name, some in turns.items()}


def turn_of(prepare: Callable[[], Callable[[], object]], store: LogStore | None = None) -> Turn:
    """Ten writes in a row. prepare: makes one ready outside the time that is taken. store: whose files to wait for."""
    for _ in range(WARM_UP):
        prepare()()

    def run() -> list[float]:
        seconds = []
        for write in [prepare() for _ in range(TURN)]:
            started = time.perf_counter()
            write()
            seconds.append(time.perf_counter() - started)
        if store is not None:
            wait_until_current(store)
        return seconds

    return run


def appends(store: LogStore) -> Callable[[], Callable[[], None]]:
    """`LogStore.append` of a new row."""

    def prepare() -> Callable[[], None]:
        one = example()
        return lambda: store.append(one)

    return prepare


def ratings(store: LogStore, rows: int) -> Callable[[], Callable[[], None]]:
    """`LogStore.rate` of any row."""

    def prepare() -> Callable[[], None]:
        rated, rating = prompt_id(random.randint(1, rows)), random.randint(1, 5)
        return lambda: store.rate(rated, rating)

    return prepare


@contextmanager
def synced_file(folder: Path) -> Iterator[Callable[[], Callable[[], None]]]:
    """4 KB at the end of a file, on the disk."""
    with (folder / "floor").open("ab", buffering=0) as file:

        def write() -> None:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())

        yield lambda: write


@contextmanager
def raw_inserts(place: Place) -> Iterator[Callable[[], Callable[[], None]]]:
    """One INSERT of the same row into a table without more than a key, and its commit, by hand."""
    names = list(to_row(example()))
    if place.url is None:
        connection: Any = sqlite3.connect(place.folder / "raw.db")
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        connection.execute(f"CREATE TABLE raw ({', '.join(names)})")
    else:
        import psycopg

        connection = psycopg.connect(sa.make_url(place.url).set(drivername="postgresql").render_as_string(False))
        connection.execute(f"CREATE TABLE raw AS SELECT {', '.join(names)} FROM interactions WHERE false")
    connection.execute("CREATE UNIQUE INDEX raw_prompt_id ON raw (prompt_id)")
    connection.commit()
    mark = "%s" if place.url else "?"
    insert = f"INSERT INTO raw ({', '.join(names)}) VALUES ({', '.join(mark for _ in names)})"

    def prepare() -> Callable[[], None]:
        values = tuple(to_row(example()).values())

        def write() -> None:
            connection.execute(insert, values)
            connection.commit()

        return write

    yield prepare
    connection.close()


def report(database: str, mirror: bool, seconds: dict[str, list[float]], many: int) -> None:
    """Print medians, and what they are against the floor and at many rows."""
    floor, raw = median(seconds["fdatasync"]), median(seconds["raw"])
    titles = {"fdatasync": "fdatasync of 4 KB", "raw": "raw INSERT and commit"}
    rows = []
    for name, some in seconds.items():
        what, _, size = name.partition(" ")
        at_few = median(seconds[f"{what} {FEW}"]) if size == str(many) else None
        rows.append(
            [
                titles.get(name) or f"{what} at {int(size):,} rows",
                ms(median(some)),
                ms(p95(some)),
                f"{median(some) / floor:.2f}",
                f"{median(some) / raw:.2f}",
                f"{median(some) / at_few:.2f}" if at_few else "",
            ]
        )
    header = ["", "median ms", "p95 ms", "÷ fdatasync", "÷ raw", f"÷ at {FEW:,} rows"]
    number = len(seconds["raw"])
    print_table(f"{DATABASES[database]}, mirror {'on' if mirror else 'off'} ({number} each)", header, rows)


if __name__ == "__main__":
    main()

"""How the two files look from outside while the log is written to: `python -m benchmarks.log_files --keep FOLDER`.

First, how long after a write returned it is in both files: twenty appends and twenty ratings of any row, each at a
random moment after the one before was seen. Then a reader parses both files, over and over, while another process
appends and rates by turns, 200 writes a second.
"""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common import median, print_table
from benchmarks.log_common import DATABASES, SPAWN, Place, example, options, places, prompt_id, wait_until_current
from router.log.store import LogStore
from tests.log.support import in_csv, in_json

SAMPLES = 20
PER_SECOND = 200
SEPARATORS = {"prompts.json": b",\n", "prompts.csv": b"\r\n"}
_EXCERPT_BYTES = 1 << 15


class Reads(NamedTuple):
    """What the reader met, and how many writes a second were done meanwhile."""

    reads: int
    invalid: int
    writes_per_second: float


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, rows=1_000_000, seconds=30)
    sizes = [size for size in (1_000, 100_000, 1_000_000) if size <= chosen.rows]
    delays, reads = [], []
    with places(chosen) as made:
        for database in made.databases:
            for size in sizes:
                name = f"{DATABASES[database]}, {size:,} rows"
                with made.log(database, size) as place:
                    delays.append([name, *measure_delays(place, size)])
                    if size < 1_000_000:  # one look at a million rows takes 20 seconds
                        found = read_while_written(place, chosen.seconds)
                        reads.append([name, str(found.reads), str(found.invalid), f"{found.writes_per_second:.0f}"])
    header = ["", "append: median", "longest", "rating: median", "longest", "built from nothing s"]
    print_table(f"Seconds until a write is in both files ({SAMPLES} each)", header, delays)
    header = ["", "looks at both files", "invalid", "writes/s done"]
    print_table(f"A reader during {PER_SECOND} writes/s, {chosen.seconds} s", header, reads)


def measure_delays(place: Place, size: int) -> list[str]:
    """Seconds from a write's return until both files have it: median and longest, of appends and of ratings."""
    with place.open() as store:
        started = time.monotonic()
        wait_until_current(store)
        built = time.monotonic() - started
        for _ in range(2):  # the first write after that makes the hidden copies
            store.append(example())
            wait_until_current(store)
        appends = [delay_of_append(store, place.folder) for _ in range(SAMPLES)]
        ratings = [delay_of_rating(store, place.folder, size) for _ in range(SAMPLES)]
    figures = [median(appends), max(appends), median(ratings), max(ratings)]
    return [*(f"{seconds:.2f}" for seconds in figures), f"{built:.1f}" if built > 1 else ""]


def delay_of_append(store: LogStore, folder: Path) -> float:
    """Seconds until the row is the last one of both files."""
    one = example()
    time.sleep(random.uniform(0, 1))
    store.append(one)
    wanted = one.prompt_id.encode()
    return seconds_until(lambda: all(wanted in excerpt(folder / name, -_EXCERPT_BYTES) for name in SEPARATORS))


def delay_of_rating(store: LogStore, folder: Path, size: int) -> float:
    """Seconds until the row, which may be anywhere, has its new rating in both files."""
    rated = prompt_id(random.randint(1, size))
    places_in_files = {name: position_of(folder / name, rated) for name in SEPARATORS}
    rating = 1 + (store.get(rated).rating or 0) % 5
    time.sleep(random.uniform(0, 1))
    store.rate(rated, rating)
    return seconds_until(
        lambda: all(rating_in(folder / name, at, rated) == rating for name, at in places_in_files.items())
    )


def seconds_until(condition: Callable[[], bool]) -> float:
    """Poll, and fail when it takes more than a minute."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 60, "not within a minute"
        time.sleep(0.002)
    return time.monotonic() - began


def excerpt(path: Path, position: int) -> bytes:
    """Some 32 KB of a file from a position, counted from its end when it is negative."""
    with path.open("rb") as file:
        file.seek(max(position, -path.stat().st_size), 2 if position < 0 else 0)
        return file.read(_EXCERPT_BYTES)


def position_of(path: Path, wanted: str) -> int:
    """Where the row begins. No write moves it: a rating has its place."""
    with path.open("rb") as file:
        position, tail = 0, b""
        while block := file.read(1 << 24):
            found = (tail + block).find(wanted.encode())
            if found >= 0:
                before = (tail + block)[:found].rfind(SEPARATORS[path.name][-1:])
                return position - len(tail) + before + 1
            position += len(block)
            tail = block[-_EXCERPT_BYTES:]
    raise LookupError(wanted)


def rating_in(path: Path, position: int, wanted: str) -> int | None:
    """The rating that the file gives the row that begins there."""
    line = excerpt(path, position).split(SEPARATORS[path.name])[0].decode()
    if path.suffix == ".json":
        row: dict[str, Any] = json.loads(line)
    else:
        names = excerpt(path, 0).split(b"\r\n")[0].decode().split(",")
        row = dict(zip(names, next(csv.reader([line], strict=True)), strict=True))
    assert row["prompt_id"] == wanted
    return int(row["rating"]) if row["rating"] else None


def read_while_written(place: Place, seconds: int) -> Reads:
    """Parse both files over and over, for as long as another process writes."""
    receiver, sender = SPAWN.Pipe(duplex=False)
    writer = SPAWN.Process(target=write_steadily, args=(place, seconds, sender))
    writer.start()
    receiver.recv()
    reads = invalid = 0
    while writer.is_alive():
        for parse in (in_json, in_csv):
            try:
                parse(place.folder)
            except (ValueError, csv.Error, AssertionError) as error:
                invalid += 1
                print(f"invalid: {error}")
        reads += 1
    writer.join()
    return Reads(reads, invalid, receiver.recv())


def write_steadily(place: Place, seconds: int, told: Any) -> None:
    """In a process of its own: append and rate by turns, on time as long as that can be."""
    with place.open() as store:
        store.flush()
        told.send("begun")
        started = time.monotonic()
        for number in range(PER_SECOND * seconds // 2):
            time.sleep(max(0.0, started + 2 * number / PER_SECOND - time.monotonic()))
            one = example()
            store.append(one)
            store.rate(one.prompt_id, 1 + number % 5)
        told.send(PER_SECOND * seconds / (time.monotonic() - started))


if __name__ == "__main__":
    main()

"""Many writers at once on one log: `python -m benchmarks.log_concurrency`.

Eight threads of one process and four more processes; half of the writes of each append, half rate what it appended.
"""

from __future__ import annotations

import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier as ProcessBarrier
from typing import NamedTuple

from benchmarks.common import print_table
from benchmarks.log_common import DATABASES, SPAWN, Place, example, files_equal, options, places
from router.log.store import LogStore

THREADS, PROCESSES = 8, 4


class Written(NamedTuple):
    """What one writer was told: the ids that were appended, the rating of each that was rated, what was raised."""

    appended: list[str]
    rated: dict[str, int]
    errors: list[str]


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, writes=500)
    with places(chosen) as made:
        rows = []
        for database in made.databases:
            with made.log(database) as place:
                rows.append([DATABASES[database], *run(place, chosen.writes)])
    header = ["", "wall s", "writes/s", "errors", "rows lost", "ratings lost", "rows in the table", "files equal it"]
    title = f"{THREADS} threads and {PROCESSES} processes at once, {chosen.writes} writes each"
    print_table(title, header, rows)


def run(place: Place, writes: int) -> list[str]:
    """All at once; a row of the table."""
    start = SPAWN.Barrier(THREADS + PROCESSES + 1)
    ends = [SPAWN.Pipe(duplex=False) for _ in range(PROCESSES)]
    processes = [SPAWN.Process(target=write_and_tell, args=(place, start, writes, sender)) for _, sender in ends]
    for process in processes:
        process.start()
    done: list[Written] = []
    with place.open() as store:
        threads = [threading.Thread(target=lambda: done.append(write(store, start, writes))) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        start.wait()
        began = time.perf_counter()
        done += [receiver.recv() for receiver, _ in ends]
        for worker in (*threads, *processes):
            worker.join()
        seconds = time.perf_counter() - began
        store.flush()
        table = {row.interaction.prompt_id: row.interaction.rating for row in store.rows()}
        equal = files_equal(store, place)
    for error in sorted({error for written in done for error in written.errors}):
        print(error)
    return [
        f"{seconds:.1f}",
        f"{writes * len(done) / seconds:,.0f}",
        str(sum(len(written.errors) for written in done)),
        str(sum(one not in table for written in done for one in written.appended)),
        str(sum(table.get(one) != rating for written in done for one, rating in written.rated.items())),
        f"{len(table):,}",
        "yes" if equal else "NO",
    ]


def write_and_tell(place: Place, start: ProcessBarrier, writes: int, told: Connection) -> None:
    """In a process of its own."""
    with place.open() as store:
        told.send(write(store, start, writes))


def write(store: LogStore, start: ProcessBarrier, writes: int) -> Written:
    """Append and rate by turns."""
    written = Written([], {}, [])
    start.wait()
    for number in range(writes // 2):
        one, rating = example(), 1 + number % 5
        try:
            store.append(one)
            written.appended.append(one.prompt_id)
            store.rate(one.prompt_id, rating)
            written.rated[one.prompt_id] = rating
        except Exception as error:  # whatever it is, it is counted
            written.errors.append(repr(error))
    status = store.status()
    if not status.ok or status.lost or status.pending:
        written.errors.append(repr(status))
    return written


if __name__ == "__main__":
    main()

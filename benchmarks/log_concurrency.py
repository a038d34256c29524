"""Many writers at once on one log: `python -m benchmarks.log_concurrency`.

Eight threads of one process and four more processes; half of the writes of each append, half rate what it appended.
Then only processes, one, two and four of them: what a log takes in however many write to it.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier as ProcessBarrier
from typing import NamedTuple

from benchmarks.common import interleaved, median, print_table
from benchmarks.log_common import DATABASES, SPAWN, Place, example, files_equal, options, places
from router.log.store import LogStore

THREADS, PROCESSES = 8, 4
ROUNDS = 5


class Written(NamedTuple):
    """What one writer was told: the ids that were appended, the rating of each that was rated, what was raised."""

    appended: list[str]
    rated: dict[str, int]
    errors: list[str]


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, writes=500)
    with places(chosen) as made:
        rows, rates = [], []
        for database in made.databases:
            with made.log(database) as place:
                rows.append([DATABASES[database], *run(place, chosen.writes)])
            with made.log(database) as place:
                turns = interleaved({str(n): partial(rate_of, place, chosen.writes, n) for n in (1, 2, 4)}, ROUNDS)
            rates.append([DATABASES[database], *(f"{median(turn):,.0f}" for turn in turns.values())])
    header = ["", "wall s", "writes/s", "errors", "rows lost", "ratings lost", "rows in the table", "files equal it"]
    title = f"{THREADS} threads and {PROCESSES} processes at once, {chosen.writes} writes each"
    print_table(title, header, rows)
    print_table(f"Writes a second, median of {ROUNDS}", ["processes that write", "1", "2", "4"], rates)


def rate_of(place: Place, writes: int, processes: int) -> float:
    """Writes a second of so many processes, all together."""
    start = SPAWN.Barrier(processes + 1)
    ends = [SPAWN.Pipe(duplex=False) for _ in range(processes)]
    writers = [SPAWN.Process(target=write_and_tell, args=(place, start, writes, sender)) for _, sender in ends]
    for writer in writers:
        writer.start()
    start.wait()
    began = time.perf_counter()
    done = [receiver.recv() for receiver, _ in ends]
    seconds = time.perf_counter() - began
    for writer in writers:
        writer.join()
    assert not any(written.errors for written in done), done
    return processes * writes / seconds


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

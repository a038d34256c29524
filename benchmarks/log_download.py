"""The log as a CSV download: `python -m benchmarks.log_download --keep FOLDER`.

Over HTTP from the real server, and straight from `csv_chunks` in a process of its own. The files are current and the
server idle before it begins. Memory is the highest resident size meanwhile, less what it was before.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.common import ms, print_table
from benchmarks.log_common import DATABASES, SPAWN, Place, options, places, wait_until_current
from router.log.export import csv_chunks

REPOSITORY = Path(__file__).parents[1]


class Download(NamedTuple):
    """One download: seconds to the first byte, seconds in all, bytes, and the extra memory of who served it, bytes."""

    first: float
    whole: float
    size: int
    memory: int


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, rows=1_000_000, times=3)
    rows = []
    with places(chosen) as made:
        for database in made.databases:
            with made.log(database, chosen.rows) as place:
                with place.open() as store:
                    wait_until_current(store)
                with serving(place) as (process, url), httpx.Client(trust_env=False, timeout=60) as client:
                    wait_until_idle(process)
                    for encoding in ("identity", "gzip"):
                        for number in range(1, chosen.times + 1):
                            name = f"{DATABASES[database]}, HTTP, {encoding}, {number}."
                            rows.append(row(name, over_http(process, url, client, encoding)))
                rows += [
                    row(f"{DATABASES[database]}, csv_chunks, {number}.", in_a_new_process(place))
                    for number in range(1, chosen.times + 1)
                ]
    header = ["", "first byte ms", "MB/s", "extra memory MB", "seconds", "MB"]
    print_table(f"CSV of {chosen.rows:,} rows", header, rows)


def row(name: str, done: Download) -> list[str]:
    """A row of the table."""
    figures = (done.size / done.whole / 1e6, done.memory / 1e6, done.whole, done.size / 1e6)
    return [name, ms(done.first), *(f"{figure:,.1f}" for figure in figures)]


def over_http(process: int, url: str, client: httpx.Client, encoding: str) -> Download:
    """`GET /logs/prompts.csv`, by a client that accepts this encoding."""

    def body() -> Iterator[bytes]:
        headers = {"Accept-Encoding": encoding}
        with client.stream("GET", f"{url}/logs/prompts.csv", headers=headers) as response:
            response.raise_for_status()
            yield from response.iter_bytes()

    return download(process, body())


def in_a_new_process(place: Place) -> Download:
    """`csv_chunks`, read to its end."""
    receiver, sender = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=read_chunks, args=(place, sender))
    process.start()
    done: Download = receiver.recv()
    process.join()
    return done


def read_chunks(place: Place, told: Connection) -> None:
    """In a process of its own."""
    with place.open(mirror=False) as store:
        store.count()  # opens the database
        told.send(download(os.getpid(), csv_chunks(store)))


def download(process: int, pieces: Iterable[bytes]) -> Download:
    """Read it all; `process` serves it."""
    before = resident(process, "VmRSS")
    Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak is counted from here on
    size, first = 0, 0.0
    started = time.perf_counter()
    for piece in pieces:
        first = first or time.perf_counter() - started
        size += len(piece)
    whole = time.perf_counter() - started
    return Download(first, whole, size, resident(process, "VmHWM") - before)


def resident(process: int, what: str) -> int:
    """Bytes. what: VmRSS, now; VmHWM, at most."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) * 1024


@contextmanager
def serving(place: Place) -> Iterator[tuple[int, str]]:
    """The app on this log: its process id and its address."""
    settings = {"LOG_DIR": str(place.folder), "PYTHONPATH": str(REPOSITORY)}
    settings |= {"DATABASE_URL": place.url} if place.url else {}
    command = [sys.executable, "-m", "uvicorn", "streamlit_app:app", "--port", "0", "--no-access-log"]
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "API_TOKEN")}
    with subprocess.Popen(
        command, cwd=place.folder, env=environment | settings, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"running on (http://\S+)", line):
                break
        else:
            raise RuntimeError("The server did not start.")
        yield process.pid, found[1]
        process.terminate()


def wait_until_idle(process: int) -> None:
    """Until it has used no CPU for two seconds: what it does in the background at its start is done."""
    used, since = "", time.monotonic()
    while time.monotonic() - since < 2:
        now = " ".join(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13])
        if now != used:
            used, since = now, time.monotonic()
        time.sleep(0.1)


if __name__ == "__main__":
    main()

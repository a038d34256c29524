"""Two writers that are killed, again and again: `python -m benchmarks.log_crash`.

Every other trial kills them the moment they have written to the hidden copy of a file; the rest at a random moment.
Five trials follow each other on one log. After each, both files are parsed as they were left; then the log is opened
in a new process, and what was acknowledged, in this trial and the ones before, is looked up in the table.
"""

from __future__ import annotations

import csv
import os
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.common import median, print_table
from benchmarks.log_common import ANSWER, DATABASES, SPAWN, Place, Places, example, files_equal, options, places
from router.log.schema import interactions
from tests.log.support import in_csv, in_json

TRIALS_ON_A_LOG = 5
LONG = ANSWER * (200_000 // len(ANSWER))
SHORT = ANSWER * 5


@dataclass
class Found:
    """What the trials of a row of the table found."""

    acknowledged: int = 0
    lost_rows: int = 0
    lost_ratings: int = 0
    invalid: int = 0
    behind: int = 0
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, trials=50)
    rows = []
    with places(chosen) as made:
        for database in made.databases:
            for name, answer in (("1 KB", SHORT), ("200 KB", LONG)):
                found = Found()
                for first in range(0, chosen.trials, TRIALS_ON_A_LOG):
                    trials = range(first, min(first + TRIALS_ON_A_LOG, chosen.trials))
                    crash_one_log(made, database, answer, trials, found)
                rows.append(row(f"{DATABASES[database]}, {name}", found))
    header = ["rows of", "trials", "acknowledged", "lost rows", "lost ratings", "invalid files", "files behind"]
    print_table("kill -9 of two writers", [*header, "s until they are equal", "the longest"], rows)


def row(name: str, found: Found) -> list[str]:
    """A row of the table."""
    counts = (len(found.seconds), found.acknowledged, found.lost_rows, found.lost_ratings, found.invalid, found.behind)
    times = (median(found.seconds), max(found.seconds))
    return [name, *(f"{count:,}" for count in counts), *(f"{seconds:.2f}" for seconds in times)]


def crash_one_log(made: Places, database: str, answer: str, trials: range, found: Found) -> None:
    """Some trials on the same log. `ratings`: what was acknowledged in them, by prompt_id."""
    ratings: dict[str, int | None] = {}
    with made.log(database) as place:
        place.open().close()  # makes the files
        for trial in trials:
            acknowledged = kill_writers(place, answer, in_mid_file=trial % 2 == 0)
            found.acknowledged += len(acknowledged)
            ratings.update(acknowledged)
            found.invalid += sum(not is_valid(parse, place) for parse in (in_json, in_csv))
            check_after_restart(place, ratings, found)


def kill_writers(place: Place, answer: str, *, in_mid_file: bool) -> list[tuple[str, int | None]]:
    """What two writers had been told was done before they were killed: ids, with the rating where it was one."""
    pipes = [SPAWN.Pipe(duplex=False) for _ in range(2)]
    writers = [SPAWN.Process(target=write_for_ever, args=(place, answer, sender)) for _, sender in pipes]
    for writer in writers:
        writer.start()
    receivers = [receiver for receiver, _ in pipes]
    said = [receiver.recv() for receiver in receivers]
    for _, sender in pipes:
        sender.close()
    hidden = [place.folder / f".prompts.{kind}.next" for kind in ("json", "csv")]
    moment = time.monotonic() + random.uniform(0, 1)
    while time.monotonic() < moment:
        said += [receiver.recv() for receiver in wait(receivers, timeout=0.01)]  # type: ignore[union-attr]
    if in_mid_file:
        watched = random.choice(hidden)
        before = written_at(watched)
        give_up = time.monotonic() + 2
        while written_at(watched) == before and time.monotonic() < give_up:
            pass
    for writer in writers:
        writer.kill()
    for writer, receiver in zip(writers, receivers, strict=True):
        writer.join()
        with suppress(EOFError, OSError):  # the end, or the middle of a message
            while True:
                said.append(receiver.recv())
    return said


def written_at(path: Path) -> int:
    """When the file was last written to, 0 while there is none."""
    try:
        return int(path.stat().st_mtime_ns)
    except FileNotFoundError:
        return 0


def write_for_ever(place: Place, answer: str, told: Connection) -> None:
    """In a process of its own: append, and rate every third; say what is done when it is."""
    store = place.open()
    number = 0
    while True:
        one = example(answer)
        store.append(one)
        told.send((one.prompt_id, None))
        if number % 3 == 0:
            store.rate(one.prompt_id, 1 + number % 5)
            told.send((one.prompt_id, 1 + number % 5))
        number += 1


def is_valid(parse: Callable[..., list[Any]], place: Place) -> bool:
    """Whether an outside reader can parse the file."""
    try:
        parse(place.folder)
    except (ValueError, csv.Error, AssertionError) as error:
        print(f"invalid: {error}")
        return False
    return True


def check_after_restart(place: Place, ratings: dict[str, int | None], found: Found) -> None:
    """Open the log in a new process, take the time until both files equal the table, and count what is missing."""
    files = [place.folder / f"prompts.{kind}" for kind in ("json", "csv")]
    reached = min(newest_seq(file) for file in files)
    receiver, sender = SPAWN.Pipe(duplex=False)
    opener = SPAWN.Process(target=open_and_stay, args=(place, sender))
    opener.start()
    opened = receiver.recv()
    receiver.recv()
    with place.open(mirror=False) as store:
        newest = store.read(sa.select(sa.func.max(interactions.c.seq)))[0][0]
        # Parsing the files takes longer than bringing them up to date, and would slow that down.
        while min(newest_seq(file) for file in files) < newest or not files_equal(store, place):
            assert time.time() - opened < 60, "the files never equalled the table"
            time.sleep(0.02)
        swapped = max(file.stat().st_ctime for file in files)
        found.seconds.append(max(0.0, swapped - opened))
        table = {row.interaction.prompt_id: row.interaction.rating for row in store.rows()}
    opener.kill()
    opener.join()
    found.behind += reached < newest
    found.lost_rows += sum(one not in table for one in ratings)
    found.lost_ratings += sum(rating is not None and table.get(one) != rating for one, rating in ratings.items())


def newest_seq(file: Path) -> int:
    """The number of the last row of one of the files, which ends with it; 0 when it has none."""
    with file.open("rb") as opened:
        opened.seek(-min(32, file.stat().st_size), os.SEEK_END)
        numbers = re.findall(rb"\d+", opened.read())
    return int(numbers[-1]) if numbers else 0


def open_and_stay(place: Place, told: Connection) -> None:
    """In a process of its own: what a server that starts again does."""
    told.send(time.time())
    place.open()
    told.send("open")
    time.sleep(600)


if __name__ == "__main__":
    main()

"""`python -m router.log import`: adds the interactions of a file to the log."""

from __future__ import annotations

import math
import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

from router.log.commands.wording import counted, tell
from router.log.imported import BadValue, to_interaction
from router.log.readers import KNOWN_COLUMNS, BadRow, Row
from router.log.rows import to_row
from router.log.store import LogStore

LATENCY_UNITS_MS = {"s": 1000.0, "ms": 1.0}
INTERRUPTED = 130
_BATCH_ROWS = 500
_BATCH_CHARS = 8_000_000
_MOST_NAMES_TOLD = 20


class Progress:
    """A line on a terminal that says once a second how far it came; nothing elsewhere.

    file: the descriptor of what is being read.
    """

    def __init__(self, file: int) -> None:
        facts = os.fstat(file)
        self._file = file
        self._size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
        self._next = time.monotonic() + 1.0 if sys.stderr.isatty() else math.inf
        self._shown = False

    def show(self, rows: int) -> None:
        """Say that this many rows were read."""
        if time.monotonic() < self._next:
            return
        share = f", {os.lseek(self._file, 0, os.SEEK_CUR) / self._size:.0%}" if self._size else ""
        print(f"\r{counted(rows, 'row')}{share}", end="", file=sys.stderr, flush=True)
        self._next, self._shown = time.monotonic() + 1.0, True

    def clear(self) -> None:
        """Make room for another line."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._shown = False


def run(store: LogStore, rows: Iterable[Row | BadRow], latency_unit_ms: float, progress: Progress) -> int:
    """Add the rows that are not in the log yet, tell the bad ones by line, and print how many there were.

    Ctrl-C ends it after the batch at hand. Returns the exit code. Raises LogUnavailable, after printing as well.
    """
    adding = _Import(store, latency_unit_ms, progress)
    try:
        with _ctrl_c() as pressed:
            for row in rows:
                if pressed.is_set():
                    break
                adding.take(row)
            adding.write()
        adding.tell_what_was_left_out()
        store.wait_for_files()
    finally:
        progress.clear()
        print(adding.summary(), flush=True)
    if pressed.is_set():
        tell("Stopped. What was imported stays; the same command imports the rest.")
        return INTERRUPTED
    return 1 if adding.bad else 0


class _Import:
    def __init__(self, store: LogStore, latency_unit_ms: float, progress: Progress) -> None:
        self._store = store
        self._latency_unit_ms = latency_unit_ms
        self._progress = progress
        self._batch: list[dict[str, Any]] = []
        self._batch_chars = 0
        self._left_out: set[str] = set()
        self._added = self._there = 0
        self.bad = 0

    def take(self, row: Row | BadRow) -> None:
        if isinstance(row, Row):
            row = self._add(row)
        if isinstance(row, BadRow):
            self.bad += 1
            self._progress.clear()
            tell(f"Line {row.line:,}: {row.reason}")
        self._progress.show(self._added + self._there + len(self._batch) + self.bad)

    def write(self) -> None:
        if self._batch:
            added = self._store.add_all(self._batch)
            self._added += added
            self._there += len(self._batch) - added
            self._batch, self._batch_chars = [], 0

    def tell_what_was_left_out(self) -> None:
        if self._left_out:
            self._progress.clear()
            tell(f"Left out, because the log has no such column: {', '.join(sorted(self._left_out))}")

    def summary(self) -> str:
        added, bad = counted(self._added, "interaction"), counted(self.bad, "bad row")
        return f"Imported {added}, skipped {self._there:,} that were there, {bad}."

    def _add(self, row: Row) -> Row | BadRow:
        try:
            columns = to_row(to_interaction(row.values, self._latency_unit_ms))
        except BadValue as error:
            return BadRow(row.line, str(error))
        except RecursionError:
            return BadRow(row.line, "It is nested too deep.")
        if len(self._left_out) < _MOST_NAMES_TOLD:
            self._left_out.update(ascii(name[:40]) for name in row.values.keys() - KNOWN_COLUMNS)
        self._batch.append(columns)
        self._batch_chars += sum(len(value) for value in columns.values() if isinstance(value, str))
        if len(self._batch) >= _BATCH_ROWS or self._batch_chars >= _BATCH_CHARS:
            self.write()
        return row


@contextmanager
def _ctrl_c() -> Iterator[Event]:
    """Set when Ctrl-C was pressed, so that a transaction can be ended first; pressed again, it interrupts at once."""
    pressed = Event()

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)

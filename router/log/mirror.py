"""The two files that follow the table: `prompts.json` (exact) and `prompts.csv` (for people and spreadsheets).

Whoever wrote wakes the follower; the follower asks the clock what is new and takes both files there. Appends, ratings,
the first build, the repair after a crash and the writes of other processes are all this one loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock, Timeout

from router.log.copies import FollowingFile
from router.log.copy_state import Head
from router.log.formats import CsvFormat, JsonFormat
from router.log.schema import clock

_logger = logging.getLogger(__name__)
_POLL_S = 0.4
_GATHER_S = 0.1
_LOCK_TIMEOUT_S = 20.0
_HEAD = sa.select(clock.c.rev, clock.c.seq, clock.c.rebuilds, clock.c.store_id)


class Mirror:
    """`prompts.json` and `prompts.csv` in a folder. Any number of processes may mirror into the same folder."""

    def __init__(self, log_dir: Path) -> None:
        self._lock_path = log_dir / ".mirror.lock"
        self._files = (
            FollowingFile(log_dir / "prompts.json", JsonFormat()),
            FollowingFile(log_dir / "prompts.csv", CsvFormat()),
        )

    def sync(self, reading: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        """Bring both files to what the table holds now.

        reading: opens a connection. Raises OSError when a file cannot be written, or another process holds on to both
        without writing them.
        """
        while True:
            with self._locked(), reading() as connection:
                head = _head(connection)
                behind = [file for file in self._files if not file.is_current(head)]
                rest = max((file.rest_left() for file in behind), default=0.0)
                if not rest:
                    _follow_all(behind, head, connection)
                    return
            time.sleep(rest)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self._lock_path, poll_interval=0.01)
        while True:
            try:
                lock.acquire(timeout=_LOCK_TIMEOUT_S)
                break
            except Timeout:
                # The first build of a large log takes a minute: no reason to call the log degraded.
                if not any(file.is_being_written(within_s=_LOCK_TIMEOUT_S) for file in self._files):
                    raise
        try:
            yield
        finally:
            lock.release()


def _follow_all(files: Sequence[FollowingFile], head: Head, connection: sa.Connection) -> None:
    """Every file, also when another one cannot be written. Raises the OSError of the first that cannot."""
    problems = []
    for file in files:
        try:
            file.follow(head, connection)
        except OSError as error:
            problems.append(error)
    if problems:
        raise problems[0]


def _head(connection: sa.Connection) -> Head:
    return Head(*connection.execute(_HEAD).one())


class Follower:
    """A thread that calls `catch_up` at once, soon after each `wake`, and now and then for what others wrote."""

    def __init__(self, catch_up: Callable[[], None]) -> None:
        self._catch_up = catch_up
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-follower", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that something is new."""
        self._woken.set()

    def stop(self, timeout_s: float) -> None:
        """End the thread, waiting for a round that is under way."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._round()
        while not self._stopping.is_set():
            if self._woken.wait(_POLL_S):
                # Writes come in bursts, and whoever has just written wants to go on with the answer.
                self._stopping.wait(_GATHER_S)
            self._woken.clear()
            if not self._stopping.is_set():
                self._round()

    def _round(self) -> None:
        try:
            self._catch_up()
        except Exception:
            _logger.exception("The log's follower met something unforeseen; it goes on.")

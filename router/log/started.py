"""Requests that have begun: kept so that a crash in mid-answer loses no prompt.

Each process that begins requests holds a lock on a file of its own in the log's folder for as long as it lives; the
operating system lets go of it when the process dies, however it dies. So a `started` row belongs to a dead process
exactly when its lock file is free or gone, on this host. A row of another host is given up when it has expired: a
provider is given no longer than the total timeout. Should a request be finished after all, because its caller took a
pause, its interaction takes the place of the `interrupted` one.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout

from router.log.interaction import Interaction
from router.log.pending import Record
from router.log.rows import clean, to_row
from router.log.schema import started

CUT_SHORT = "The process ended in mid-answer; only the prompt was kept."
_GRACE_S = 0.025
_AGAIN_S = 0.5
_SWEPT_AFTER_S = 60.0
_LONGEST_WAIT_S = 0.5
_CLOCKS_DIFFER_S = 60.0


class ProcessMark:
    """The lock that says this process is alive. Taken at the first `name()`."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir.absolute()
        self._locks: dict[int, FileLock] = {}  # by process; a fork keeps its parent's, because letting go would free it
        self._taking = threading.Lock()

    def name(self) -> str:
        """The path of the lock file, held. Raises OSError when it cannot be made."""
        with self._taking:
            lock = self._locks.get(os.getpid())
            if lock is None:
                lock = FileLock(self._log_dir / f".running-{uuid.uuid4().hex}.lock", thread_local=False)
                lock.acquire(timeout=0)
                self._locks[os.getpid()] = lock
        return str(lock.lock_file)

    def leave_to_parent(self) -> None:
        """After a fork: the parent goes on holding its lock, and may have been holding the other one too."""
        self._taking = threading.Lock()

    def sweep(self) -> None:
        """Remove the lock files of processes that died while nothing was under way."""
        for lock_file in self._log_dir.glob(".running-*.lock"):
            with suppress(OSError):
                # One that was only just made may not be held yet.
                if time.time() - lock_file.stat().st_mtime > _SWEPT_AFTER_S:
                    _is_dead(lock_file)

    def release(self) -> None:
        """Say that this process begins no more requests."""
        with self._taking:
            lock = self._locks.pop(os.getpid(), None)
            if lock is not None:
                lock.release()
                Path(lock.lock_file).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Beginning:
    """A request that has begun.

    interaction: as far as it is known. template_text: the text of its template version, if it has one.
    lasts_s: after which time another host may give it up.
    """

    interaction: Interaction
    template_text: str | None
    lasts_s: float

    def row(self, process: str) -> dict[str, Any]:
        """The row of `started`, in the process of this name."""
        columns = to_row(self.interaction)
        expires = datetime.now(UTC) + timedelta(seconds=min(self.lasts_s, 1e9) + _CLOCKS_DIFFER_S)
        return {
            "prompt_id": columns["prompt_id"],
            "timestamp": columns["timestamp"],
            "host": socket.gethostname(),
            "process": process,
            "request": json.dumps({**columns, "template_text": clean(self.template_text)}, ensure_ascii=False),
            "expires": expires.isoformat(),
        }


class Beginnings:
    """The requests under way. A thread writes each soon after it began, unless it has ended by then.

    So a fast request costs no second transaction, and a slow one waits for none.

    write: puts beginnings into the table, and says whether it could; must not raise. writing: the lock that is held
    meanwhile.
    """

    def __init__(self, write: Callable[[list[Beginning]], bool], writing: threading.RLock) -> None:
        self._write = write
        self._writing = writing
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[float, Beginning]] = {}  # with the moment of writing, oldest first
        self._written: set[str] = set()
        self._thread: threading.Thread | None = None
        self._idle = False
        self._stopped = False

    def add(self, beginning: Beginning) -> None:
        """A request begins."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-beginnings", daemon=True)
                self._thread.start()
            self._waiting[beginning.interaction.prompt_id] = time.monotonic() + _GRACE_S, beginning
            if self._idle:
                self._changed.notify_all()

    def end(self, prompt_id: str) -> bool:
        """A request is over: whether its beginning is in the table. Only who holds `writing` can know for sure."""
        with self._changed:
            self._waiting.pop(prompt_id, None)
            if prompt_id in self._written:
                self._written.remove(prompt_id)
                return True
            return False

    def hurry(self, prompt_id: str) -> None:
        """Have a beginning written now, and wait for it, though never for long."""
        with self._changed:
            if prompt_id not in self._waiting:
                return
            self._waiting = {prompt_id: (0.0, self._waiting.pop(prompt_id)[1]), **self._waiting}
            self._changed.notify_all()
            self._changed.wait_for(lambda: prompt_id not in self._waiting, _LONGEST_WAIT_S)

    def stop(self, timeout_s: float) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._wait_for_due():
            with self._writing:
                with self._changed:
                    now = time.monotonic()
                    due = [beginning for moment, beginning in self._waiting.values() if moment <= now]
                written = self._write(due) if due else False
                with self._changed:
                    for beginning in due:
                        prompt_id = beginning.interaction.prompt_id
                        if self._waiting.pop(prompt_id, None) is None:
                            continue  # it has ended meanwhile, which does not wait for a turn while the log is degraded
                        if written:
                            self._written.add(prompt_id)
                        else:
                            self._waiting[prompt_id] = time.monotonic() + _AGAIN_S, beginning
                    self._changed.notify_all()

    def _wait_for_due(self) -> bool:
        with self._changed:
            while not self._stopped:
                moment = next((moment for moment, _ in self._waiting.values()), None)
                rest = None if moment is None else moment - time.monotonic()
                if rest is not None and rest <= 0:
                    break
                self._idle = rest is None
                self._changed.wait(rest)
            return not self._stopped


def abandoned(connection: sa.Connection) -> list[Record]:
    """What dead processes had begun: `interrupted`, with an error text."""
    rows = connection.execute(sa.select(started).order_by(started.c.timestamp)).all()
    host, now = socket.gethostname(), datetime.now(UTC).isoformat()
    here = {row.process for row in rows if row.host == host}
    dead = {process for process in here if _is_dead(Path(process))}
    return [
        _given_up(json.loads(row.request))
        for row in rows
        if (row.process in dead if row.host == host else (row.expires or row.timestamp) < now)
    ]


def _given_up(request: dict[str, Any]) -> Record:
    template_text = request.pop("template_text", None)
    return Record({**request, "status": "interrupted", "error": CUT_SHORT}, template_text, begun=True)


def _is_dead(lock_file: Path) -> bool:
    if not lock_file.exists():
        return True
    try:
        with FileLock(lock_file, timeout=0):
            lock_file.unlink(missing_ok=True)
    except Timeout:
        return False
    except OSError:  # a file that cannot be judged is no proof of a death
        return False
    return True

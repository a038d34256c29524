"""Requests that have begun: kept so that a crash in mid-answer loses no prompt.

Each process that begins requests holds a lock on a file of its own in the log's folder for as long as it lives; the
operating system lets go of it when the process dies, however it dies. So a `started` row belongs to a dead process
exactly when its lock file is free or gone, on this host. Rows of other hosts are left to those hosts.
"""

from __future__ import annotations

import json
import socket
import threading
import uuid
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout

from router.log.interaction import Interaction
from router.log.rows import to_row
from router.log.schema import started

CUT_SHORT = "The process ended in mid-answer; only the prompt was kept."


class ProcessMark:
    """The lock that says this process is alive. Taken at the first `name()`."""

    def __init__(self, log_dir: Path) -> None:
        self._path = log_dir.absolute() / f".running-{uuid.uuid4().hex}.lock"
        self._lock: FileLock | None = None
        self._taking = threading.Lock()

    def name(self) -> str:
        """The path of the lock file, held. Raises OSError when it cannot be made."""
        with self._taking:
            if self._lock is None:
                lock = FileLock(self._path, thread_local=False)
                lock.acquire(timeout=0)
                self._lock = lock
        return str(self._path)

    def release(self) -> None:
        """Say that this process begins no more requests."""
        with self._taking:
            if self._lock is not None:
                self._lock.release()
                self._path.unlink(missing_ok=True)
                self._lock = None


def started_row(interaction: Interaction, process: str) -> dict[str, Any]:
    """The row of `started` for a request that begins now in the process of this name."""
    columns = to_row(interaction)
    return {
        "prompt_id": columns["prompt_id"],
        "timestamp": columns["timestamp"],
        "host": socket.gethostname(),
        "process": process,
        "request": json.dumps(columns, ensure_ascii=False),
    }


def abandoned(connection: sa.Connection) -> list[dict[str, Any]]:
    """The interactions, as columns, that dead processes of this host had begun: `interrupted`, with an error text."""
    rows = connection.execute(
        sa.select(started).where(started.c.host == socket.gethostname()).order_by(started.c.timestamp)
    ).all()
    dead = {process for process in {row.process for row in rows} if _is_dead(Path(process))}
    return [
        {**json.loads(row.request), "status": "interrupted", "error": CUT_SHORT} for row in rows if row.process in dead
    ]


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

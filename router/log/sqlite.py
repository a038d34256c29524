"""The file that SQLite keeps the log in."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

_SUFFIXES = ("-wal", "-shm", "")
_LARGEST_WAL_LEFT_BYTES = 1 << 26


def file_of(url: str) -> Path | None:
    """The file that a database URL names, None when it names none."""
    with suppress(SQLAlchemyError, ValueError):  # said when the database is opened
        parts = sa.make_url(url)
        if parts.get_backend_name() == "sqlite" and parts.database not in (None, "", ":memory:"):
            return Path(str(parts.database))
    return None


def parts(file: Path) -> list[Path]:
    """What SQLite keeps a database in, the database itself last; none of them need exist."""
    return [file.with_name(file.name + suffix) for suffix in _SUFFIXES]


def set_aside(file: Path, kept: Path) -> None:
    """Rename a database. Raises OSError."""
    for part, new in zip(parts(file), parts(kept), strict=True):
        if part.exists():
            os.rename(part, new)


def identity(file: Path | None) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None for one that does not exist, and for PostgreSQL."""
    try:
        facts = os.stat(file) if file else None
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino) if facts else None


def prepare(connection: Any, _record: object) -> None:
    """Set a new connection up (SQLAlchemy's event `connect`)."""
    # In WAL mode only FULL waits for the disk at every commit.
    connection.execute("PRAGMA synchronous=FULL")
    # What a long read let the -wal grow to is given back.
    connection.execute(f"PRAGMA journal_size_limit={_LARGEST_WAL_LEFT_BYTES}")


def is_damaged(file: Path) -> bool:
    """Whether SQLite finds the file damaged, which takes some seconds for a gigabyte."""
    connection = sqlite3.connect(file)
    try:
        # The second compares indexes with tables as well, which takes ten times as long.
        checks = ("PRAGMA quick_check(1)", "PRAGMA integrity_check(1)")
        return any(connection.execute(check).fetchone() != ("ok",) for check in checks)
    except sqlite3.OperationalError:  # locked or unreadable just now, which is no proof
        return False
    except sqlite3.DatabaseError:
        return True
    finally:
        connection.close()

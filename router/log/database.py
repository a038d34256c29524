"""The connection to the log's database: opened when it can be, with errors that name the setting to look at."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from router.errors import LogUnavailable
from router.log import salvage, sqlite
from router.log.copies import dated
from router.log.schema import is_current, migrate

_OPEN_LOCK_TIMEOUT_S = 30.0
_CHECK_AT_MOST_EVERY_S = 60.0  # it reads all of the file
_LONGEST_WRITE_S = 600.0
_READS_TAKE_LONGER = 3.0  # a chart is about all rows, a write about one
_POSTGRESQL_HAS_NO_TABLE = ("42P01", "3F000")  # undefined_table, invalid_schema_name


class DatabaseLost(LogUnavailable):
    """What was open is not the log's database any more. The next use opens the one that is, or begins a new one."""


class DatabaseCorrupt(DatabaseLost):
    """The SQLite file was damaged, and has been set aside if a check found that too."""


class TablesMissing(DatabaseLost):
    """Tables have vanished. The next use makes them anew, if it was all of them."""


class _Opened(NamedTuple):
    engine: sa.Engine
    identity: tuple[int, int] | None


class Database:
    """An engine on SQLite or PostgreSQL that is opened at its first use, and tried again at the next when that failed.

    log_dir: made when it does not exist. url: None for SQLite in log_dir/prompts.db.
    busy_timeout_s: how long SQLite waits for the lock of another process, and PostgreSQL may take for an answer.
    """

    def __init__(self, log_dir: Path, url: str | None, busy_timeout_s: float) -> None:
        self._log_dir = log_dir
        self._url = url
        self._file = sqlite.file_of(url) if url else log_dir / "prompts.db"
        self._busy_timeout_s = busy_timeout_s
        self._opened: _Opened | None = None
        self._opening = threading.Lock()
        self._next_check = 0.0  # on the monotonic clock
        self.notice: str | None = None

    @property
    def file(self) -> Path | None:
        """The database of SQLite, None for PostgreSQL."""
        return self._file

    @property
    def files(self) -> list[Path]:
        """What SQLite keeps the database in; none of them need exist. Empty for PostgreSQL."""
        return sqlite.parts(self._file) if self._file else []

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read from. Raises LogUnavailable, and DatabaseLost where the next use may succeed."""
        patience_s = self._busy_timeout_s * _READS_TAKE_LONGER
        with self._made_ready_when_lost():
            engine = self._open().engine
            with self._named_errors(), engine.connect() as connection, self._session(connection, patience_s):
                yield connection

    @contextmanager
    def writing(self, *, many: bool = False) -> Iterator[sa.Connection]:
        """A transaction, durable when the block has ended, rolled back when it raised.

        many: it is about many rows and may take its time.
        Raises LogUnavailable, and DatabaseLost where the next use may succeed. IntegrityError and DataError come
        through: they are about the row, not the database.
        """
        patience_s = _LONGEST_WRITE_S if many else self._busy_timeout_s
        with self._made_ready_when_lost():
            engine, identity = self._open()
            with (
                self._named_errors(),
                engine.connect() as connection,
                self._session(connection, patience_s),
                connection.begin(),
            ):
                yield connection
            if identity != sqlite.identity(self._file):
                # Committed to a file that another process had set aside by then, or that somebody deleted.
                raise DatabaseLost(self._message("another file has taken its place"))

    def erase_remains(self) -> bool:
        """Rewrite SQLite's file and empty its -wal, so that neither holds anything of rows that were deleted.

        False when the -wal could not be emptied, because another process was reading. PostgreSQL reuses the room of
        deleted rows by itself, in its own time; nothing is done there. Raises LogUnavailable.
        """
        engine = self._open().engine
        if engine.dialect.name != "sqlite":
            return True
        with self._made_ready_when_lost(), self._named_errors(), engine.connect() as connection:
            # Overwriting rows as they are deleted (PRAGMA secure_delete) would not do: copies of them lie in the free
            # room of other pages, left there whenever a page was split or the request's row in `started` went.
            for_itself = connection.execution_options(isolation_level="AUTOCOMMIT")
            for_itself.exec_driver_sql("VACUUM")
            patience_ends = time.monotonic() + self._busy_timeout_s
            while True:
                held_back, *_ = for_itself.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
                if not held_back or time.monotonic() > patience_ends:
                    return not held_back
                time.sleep(0.02)  # SQLite waits for readers, but not for another process that empties the -wal too

    @contextmanager
    def _made_ready_when_lost(self) -> Iterator[None]:
        try:
            yield
        except DatabaseCorrupt as error:
            self._set_aside_if_corrupt()
            if self.notice is None:
                raise
            raise DatabaseCorrupt(f"{self.notice} Try again.") from error
        except TablesMissing:
            self.close()
            raise

    def _set_aside_if_corrupt(self) -> None:
        """Rename a damaged SQLite file, so that the next use begins a new one. Nothing is ever overwritten."""
        if self._file is None or time.monotonic() < self._next_check:
            return
        found = sqlite.identity(self._file)
        if not self._file.exists() or not sqlite.is_damaged(self._file):
            self._next_check = time.monotonic() + _CHECK_AT_MOST_EVERY_S
            return
        try:
            with self._opening, self._open_lock():
                if sqlite.identity(self._file) == found:  # else another process was faster
                    self.close()
                    kept = dated(self._file, "corrupt")
                    self.notice = salvage.begin(kept)
                    sqlite.set_aside(self._file, kept)
        except OSError as error:
            raise LogUnavailable(self._message(str(error))) from error

    def close(self) -> None:
        """Give back all connections; the next use opens the database again."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.engine.dispose()

    def _open(self) -> _Opened:
        opened = self._opened
        if opened is not None and opened.identity == sqlite.identity(self._file):
            return opened
        with self._opening:
            opened = self._opened
            if opened is None or opened.identity != sqlite.identity(self._file):
                # Deleted or replaced under our feet: what is written to the open file would be lost.
                self.close()
                engine, identity = self._open_new(), sqlite.identity(self._file)
                if identity is not None:
                    engine.dispose()  # a connection made before that could be to another file
                opened = self._opened = _Opened(engine, identity)
            return opened

    def leave_to_parent(self) -> None:
        """After a fork: the connections belong to the parent, which goes on using them."""
        if self._opened is not None:
            self._opened.engine.dispose(close=False)
        self._opened = None
        self._opening = threading.Lock()

    def _open_new(self) -> sa.Engine:
        try:
            self._log_dir.mkdir(parents=True, exist_ok=True)
            with self._named_errors():
                engine = self._make_engine()
                try:
                    if not _is_prepared(engine):
                        with self._open_lock():
                            _prepare(engine)
                except BaseException:
                    engine.dispose()
                    raise
        except ModuleNotFoundError as error:
            raise LogUnavailable(self._message(f"the Python package {error.name} is not installed")) from error
        except (OSError, RuntimeError) as error:
            raise LogUnavailable(self._message(str(error))) from error
        return engine

    def _open_lock(self) -> FileLock:
        return FileLock(self._log_dir / ".open.lock", timeout=_OPEN_LOCK_TIMEOUT_S)

    def _make_engine(self) -> sa.Engine:
        try:
            url = sa.make_url(self._url or sa.URL.create("sqlite", database=str(self._file)))
        except (SQLAlchemyError, ValueError):
            # The parser's own message can hold a part of the password.
            raise LogUnavailable(
                "DATABASE_URL is not a database URL, such as postgresql+psycopg://user@host/db"
            ) from None
        is_sqlite = url.get_backend_name() == "sqlite"
        engine = sa.create_engine(
            url,
            # A thread that finds no free connection waits, and one that waits for long has met a database that is gone.
            pool_size=5,
            max_overflow=45,
            hide_parameters=True,
            connect_args={"timeout": self._busy_timeout_s} if is_sqlite else {},
        )
        if is_sqlite:
            sa.event.listen(engine, "connect", sqlite.prepare)
        if url.drivername == "postgresql+psycopg":
            from router.log import postgresql  # here, because psycopg need not be installed

            sa.event.listen(engine, "do_connect", postgresql.connector(self._busy_timeout_s))
            sa.event.listen(engine, "checkout", postgresql.discard_if_closed)
        return engine

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, DataError):
            raise
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error)
            raise _kind(error)(self._message(reason)) from error

    @contextmanager
    def _session(self, connection: sa.Connection, seconds: float | None) -> Iterator[None]:
        """Have PostgreSQL answer within so many seconds, or whenever it can, and end a session in which it failed.

        SQLite has its own limit.
        """
        if connection.dialect.driver != "psycopg":
            yield
            return
        driver_connection: Any = connection.connection.driver_connection
        driver_connection.patience_s = seconds
        try:
            yield
        except (IntegrityError, DataError):
            raise
        except SQLAlchemyError:
            # A session keeps the settings it began with, and may be one with a server that is no more than a standby.
            connection.invalidate()
            raise
        finally:
            driver_connection.patience_s = self._busy_timeout_s

    def _message(self, reason: str) -> str:
        if self._url is None:
            return f"The log in LOG_DIR ({self._log_dir}) cannot be used: {reason}"
        # A password can also be given in the query.
        shown = sa.make_url(self._url).set(query={})
        return f"The log at DATABASE_URL ({shown!r}) cannot be used: {reason}"


def _is_prepared(engine: sa.Engine) -> bool:
    """Waits for no other process, such as one that was stopped while it had a lock."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
            return False
        return is_current(connection)


def _prepare(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        # Stays with the file. Done under a lock, because SQLite does not wait when two switch at once.
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    migrate(engine)


def _kind(error: SQLAlchemyError) -> type[LogUnavailable]:
    """What it says of the database."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return DatabaseCorrupt
        # SQLite has no code for it.
        return TablesMissing if str(cause).startswith("no such table") else LogUnavailable
    return TablesMissing if getattr(cause, "sqlstate", None) in _POSTGRESQL_HAS_NO_TABLE else LogUnavailable

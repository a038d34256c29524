"""The log: one table that is the truth, written by any number of threads and processes."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from filelock import Timeout
from sqlalchemy.exc import DataError, IntegrityError

from router.errors import LogUnavailable, UnknownPrompt
from router.log.database import Database
from router.log.interaction import Interaction
from router.log.mirror import Follower, Mirror
from router.log.pending import Pending, Record
from router.log.reader import LogReader
from router.log.rows import clean, to_row
from router.log.salvage import Salvage
from router.log.started import Beginning, Beginnings, ProcessMark
from router.log.status import LogStatus, Problem
from router.log.writer import Writer

_logger = logging.getLogger(__name__)

_RECOVERY_EVERY_S = 30.0
_SALVAGE_SLICE_S = 0.3  # the files should follow within a second meanwhile


class LogStore(LogReader):
    """The interactions of a log, in SQLite (LOG_DIR/prompts.db) or in the database of a URL. Thread-safe.

    log_dir: made when it does not exist; `prompts.json` and `prompts.csv` are kept there when `mirror` is true.
    busy_timeout_s: how long a write waits for the lock of another process, or for an answer of PostgreSQL, before the
    log counts as unavailable.
    Always constructs: a log that cannot be opened is degraded (see `status`), and what is appended waits in memory.
    """

    def __init__(
        self, log_dir: Path, database_url: str | None = None, *, mirror: bool = True, busy_timeout_s: float = 10.0
    ) -> None:
        self._log_dir = log_dir
        super().__init__(Database(log_dir, database_url, busy_timeout_s), Pending())
        self._writer = Writer(self._database)
        self._mirror = Mirror(log_dir) if mirror else None
        self._mark = ProcessMark(log_dir)
        self._salvage = Salvage(self._database.file, log_dir / ".salvage.lock", self.add_all, self._restore)
        # One write at a time in this process: threads then queue here, in order, not in SQLite's polling.
        self._writing = threading.RLock()
        self._write_problem: Problem | None = None
        self._mirror_problem: Problem | None = None
        self._beginnings = Beginnings(self._write_beginnings, self._writing)
        self._next_recovery = 0.0  # on the monotonic clock
        self._closed = False
        with contextlib.suppress(LogUnavailable):
            self._recover()
        self._follower = Follower(self._catch_up)
        _stores.add(self)
        # A daemon thread ends with the interpreter: without this the files would miss a script's last answer.
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Bring the files up to date if that is possible, end the thread and give the connections back."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._beginnings.stop(timeout_s=30.0)
        self._follower.stop(timeout_s=30.0)
        self._catch_up()
        self._mark.release()
        self._database.close()

    # Writing

    def begin(self, interaction: Interaction, template_text: str | None, lasts_s: float) -> None:
        """Note that a request begins, so that its prompt is kept should this process die before `append`.

        interaction: as far as it is known. template_text: as for `append`. lasts_s: after which time another host may
        give the request up.
        Written in the background within some 25 ms, unless the request has ended by then. Never fails.
        """
        self._beginnings.add(Beginning(interaction, template_text, lasts_s))

    def keep(self, prompt_id: str) -> None:
        """Have what `begin` noted survive a crash from now on.

        Never fails, and never waits longer than half a second, whatever the database does.
        """
        if self._can_write():
            self._beginnings.hurry(prompt_id)

    def append(self, interaction: Interaction, template_text: str | None = None) -> None:
        """Log a finished request. When this returns and `status().ok`, it survives a crash.

        template_text: the text of `interaction.template_version`, kept once per version.
        Never fails for want of a database: what cannot be written waits in memory and `status` says so.
        Appending a prompt_id that is already there changes nothing.
        """
        record = Record(to_row(interaction), clean(template_text), begun=True)
        if not self._can_write():
            # Known to be failing: no answer should wait for it. The follower keeps trying.
            self._beginnings.end(record.prompt_id)
            self._pending.add(record)
        else:
            try:
                with self._writing:
                    if not self._beginnings.end(record.prompt_id):
                        record = replace(record, begun=False)
                    if self._can_write():
                        self._writer.write(record)
                    else:  # since this one began to wait for the others
                        self._pending.add(record)
            except LogUnavailable as error:
                self._pending.add(record)
                self._write_problem = Problem.of(error)
            except (sa.exc.SQLAlchemyError, OverflowError):
                # The row itself cannot be stored. Whoever asked still gets the answer.
                self._pending.remove(record, lost=True)
                _logger.exception("an interaction could not be logged: %s", record.prompt_id)
        self._follower.wake()

    def rate(self, prompt_id: str, rating: int | None) -> None:
        """Set the rating of an interaction, 1 to 5, over any earlier one; None withdraws it. Durable on return.

        Raises UnknownPrompt, LogUnavailable.
        """
        if self._pending.rate(prompt_id, rating):
            return
        self._check_can_write()
        with self._writing:
            self._check_can_write()  # since this one began to wait for the others
            try:
                self._writer.rate(clean(prompt_id), rating)
            except LogUnavailable as error:
                self._write_problem = Problem.of(error)
                self._follower.wake()  # which finds out when that has passed
                raise
            except UnknownPrompt:
                if self._salvage.under_way():
                    raise LogUnavailable(
                        "The database was damaged, and this may be among what is still missing."
                    ) from None
                raise
        self._follower.wake()

    def add_all(self, rows: Sequence[dict[str, Any]]) -> int:
        """Log many interactions, as `to_row` makes them, in one transaction: how many were new. Durable on return.

        Those whose prompt_id is there already are left as they are. Raises LogUnavailable.
        """
        with self._writing:
            added = self._writer.add_all(rows)
        self._follower.wake()
        return added

    def delete(self, *, before: str | None = None, prompt_ids: Sequence[str] = ()) -> int:
        """Take interactions out of the table and of both files: those with these ids, and those from before a moment.

        before: ISO 8601 UTC, compared as text. Returns how many there were. The files follow, see `wait_for_files`;
        what SQLite's own files still hold of them goes with `erase_remains`. Raises LogUnavailable.
        """
        self.finish_salvage()  # else what is brought over later would come back
        with self._writing:
            self._write_pending()
            deleted = self._writer.delete(before, clean(prompt_ids))
        self._follower.wake()
        return deleted

    def finish_salvage(self) -> None:
        """Bring over all that a damaged database still holds, which can take minutes. Raises LogUnavailable."""
        try:
            self._salvage.finish()
        except OSError as error:
            raise LogUnavailable(f"The damaged database beside the log's cannot be brought over: {error}") from error

    def erase_remains(self) -> bool:
        """As `Database.erase_remains`. Takes time and room in proportion to the whole database."""
        with self._writing:
            return self._database.erase_remains()

    def wait_for_files(self) -> None:
        """Bring both files up to date, however long someone else is at work on them. Raises LogUnavailable."""
        while True:
            try:
                return self._sync_files()
            except LogUnavailable as error:
                if not isinstance(error.__cause__, Timeout):
                    raise

    def owns(self, path: Path) -> bool:
        """Whether a file is one of the log's own: the database, one of the two files, or a hidden one beside them."""
        own = [*self._database.files, *(self._log_dir / name for name in ("prompts.json", "prompts.csv"))]
        hidden = path.name.startswith(".") and path.resolve().parent == self._log_dir.resolve()
        return hidden or path.resolve() in {one.resolve() for one in own}

    def flush(self) -> None:
        """Write what waits in memory and bring both files up to date now. Raises LogUnavailable."""
        try:
            self._write_pending()
        finally:
            self._sync_files()

    def status(self) -> LogStatus:
        """How the log is doing, from memory, at no cost."""
        problem = self._write_problem or self._mirror_problem
        lost, notice = self._pending.lost, self._salvage.notice or self._database.notice
        if problem is None and not len(self._pending):
            return LogStatus(ok=True, lost=lost, notice=notice)
        if problem is None:
            return LogStatus(False, None, "The last interactions are being written.", len(self._pending), lost, notice)
        return LogStatus(False, problem.since, problem.reason, len(self._pending), lost, notice)

    # Behind the scenes

    def begin_anew(self) -> None:
        """After a fork: connections, threads, locks and what waits belong to the parent."""
        if self._closed:
            return
        self._writing = threading.RLock()
        self._pending = Pending()
        self._beginnings = Beginnings(self._write_beginnings, self._writing)
        self._database.leave_to_parent()
        self._mark.leave_to_parent()
        self._follower = Follower(self._catch_up)

    def _can_write(self) -> bool:
        return self._write_problem is None

    def _check_can_write(self) -> None:
        """Known to be failing: no crowd should wait for it. Raises LogUnavailable."""
        if self._write_problem is not None:
            raise LogUnavailable(self._write_problem.reason)

    def _write_pending(self) -> None:
        with self._writing:
            try:
                while (record := self._pending.oldest()) is not None:
                    self._write_oldest(record)
                if self._write_problem is not None:
                    self._writer.probe()
            except LogUnavailable as error:
                self._write_problem = Problem.of(error, self._write_problem)
                raise
            self._write_problem = None

    def _write_oldest(self, record: Record) -> None:
        try:
            self._writer.write(record)
        except (IntegrityError, DataError):
            _logger.exception("The interaction %s can never be written.", record.prompt_id)
            self._pending.remove(record, lost=True)
        else:
            while not self._pending.remove(record):
                record = self._pending.find(record.prompt_id) or record
                self._writer.rate(record.prompt_id, record.columns["rating"])

    def _sync_files(self) -> None:
        if self._mirror is None:
            return
        try:
            self._mirror.sync(self._database.reading)
        except LogUnavailable as error:
            self._mirror_problem = Problem.of(error, self._mirror_problem)
            raise
        except OSError as error:
            problem = LogUnavailable(f"The files in LOG_DIR ({self._log_dir}) cannot be written: {error}")
            self._mirror_problem = Problem.of(problem, self._mirror_problem)
            raise problem from error
        self._mirror_problem = None

    def _catch_up(self) -> None:
        try:
            self._recover()
            self.flush()
        except LogUnavailable as error:
            _logger.debug("The log is degraded: %s", error)
        except Exception as error:
            self._mirror_problem = Problem.of(error, self._mirror_problem)
            raise
        if not self._closed:
            self._salvage_some()

    def _salvage_some(self) -> None:
        try:
            if self._salvage.step(_SALVAGE_SLICE_S):
                self._follower.wake()
        except (LogUnavailable, OSError) as error:
            _logger.debug("A damaged database is not brought over just now: %s", error)

    def _restore(self, versions: Sequence[dict[str, Any]], begun: Sequence[dict[str, Any]]) -> None:
        with self._writing:
            self._writer.restore(versions, begun)

    def _recover(self) -> None:
        """Now and then: what dead processes had begun becomes `interrupted` rows."""
        if time.monotonic() < self._next_recovery:
            return
        self._next_recovery = time.monotonic() + _RECOVERY_EVERY_S
        try:
            with self._writing:
                self._writer.recover()
            self._mark.sweep()
        except LogUnavailable as error:
            self._next_recovery = 0.0
            self._write_problem = Problem.of(error, self._write_problem)
            raise
        except (sa.exc.SQLAlchemyError, ValueError, TypeError, KeyError, OSError):
            _logger.exception("What dead processes had begun cannot be logged.")

    def _write_beginnings(self, beginnings: list[Beginning]) -> bool:
        if not self._can_write():
            return False
        try:
            process = self._mark.name()
            self._writer.begin([beginning.row(process) for beginning in beginnings])
        except LogUnavailable as error:
            self._write_problem = Problem.of(error, self._write_problem)
        except OSError as error:  # of the mark, which lies where the files do
            self._mirror_problem = Problem.of(error, self._mirror_problem)
        except sa.exc.SQLAlchemyError:
            # A row that can never be written, such as one whose prompt_id is there already: trying again is no help.
            _logger.exception("The beginnings of %d requests could not be logged.", len(beginnings))
            return True
        else:
            return True
        return False


_stores: weakref.WeakSet[LogStore] = weakref.WeakSet()


def _begin_anew_after_fork() -> None:
    for store in list(_stores):
        store.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_begin_anew_after_fork)

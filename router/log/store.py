"""The log: one table that is the truth, written by any number of threads and processes."""

from __future__ import annotations

import atexit
import contextlib
import glob
import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from filelock import Timeout

from router.errors import LogUnavailable, UnknownPrompt
from router.log.database import Database
from router.log.interaction import Interaction
from router.log.mirror import Follower, Mirror
from router.log.outbox import Outbox
from router.log.pending import Pending, Record
from router.log.reader import LogReader
from router.log.rows import clean, to_row
from router.log.salvage import Salvage
from router.log.started import Beginning, Beginnings, ProcessMark
from router.log.status import LogStatus, Problem
from router.log.writer import Writer

_logger = logging.getLogger(__name__)

_RECOVERY_EVERY_S = 30.0
_LONGEST_WAIT_TO_FORK_S = 2.0
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
        self._outbox = Outbox(self._writer, self._pending)
        self._mirror_problem: Problem | None = None
        self._mark_problem: Problem | None = None
        self._following = threading.RLock()
        self._beginnings = Beginnings(self._write_beginnings, self._outbox.turn)
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
        if self._outbox.problem is None:
            self._beginnings.hurry(prompt_id)

    def append(self, interaction: Interaction, template_text: str | None = None) -> None:
        """Log a finished request. When this returns and `status().ok`, it survives a crash.

        template_text: the text of `interaction.template_version`, kept once per version.
        Never fails for want of a database: what cannot be written waits in memory and `status` says so.
        Appending a prompt_id that is already there changes nothing.
        """
        record = Record(to_row(interaction), clean(template_text))
        self._outbox.append(record, lambda: self._beginnings.end(record.prompt_id))
        self._follower.wake()

    def rate(self, prompt_id: str, rating: int | None) -> None:
        """Set the rating of an interaction, 1 to 5, over any earlier one; None withdraws it. Durable on return.

        Raises UnknownPrompt, LogUnavailable.
        """
        if self._pending.rate(prompt_id, rating):
            return
        try:
            self._outbox.write(lambda: self._writer.rate(clean(prompt_id), rating))
        except UnknownPrompt:
            if self._salvage.under_way():
                raise LogUnavailable("The database was damaged, and this may be among what is still missing.") from None
            raise
        finally:
            self._follower.wake()  # also to find out when a problem has passed

    def add_all(self, rows: Sequence[dict[str, Any]]) -> int:
        """Log many interactions, as `to_row` makes them, in one transaction: how many were new. Durable on return.

        Those whose prompt_id is there already are left as they are. Raises LogUnavailable.
        """
        added = self._outbox.write(lambda: self._writer.add_all(rows))
        self._follower.wake()
        return added

    def delete(self, *, before: str | None = None, prompt_ids: Sequence[str] = ()) -> int:
        """Take interactions out of the table and of both files: those with these ids, and those from before a moment.

        before: ISO 8601 UTC, compared as text. Returns how many there were. The files follow, see `wait_for_files`;
        what SQLite's own files still hold of them goes with `erase_remains`. Raises LogUnavailable.
        """
        deleted = 0
        while True:
            self.finish_salvage()  # else what is brought over later would come back
            self._outbox.flush()
            deleted += self._outbox.write(lambda: self._writer.delete(before, clean(prompt_ids)))
            if not self._salvage.under_way():  # since damage was met just now
                break
        self._follower.wake()
        return deleted

    def finish_salvage(self) -> None:
        """Bring over all that a damaged database still holds, which can take minutes. Raises LogUnavailable."""
        self._salvage.finish()

    def erase_remains(self) -> bool:
        """As `Database.erase_remains`. Takes time and room in proportion to the whole database."""
        with self._outbox.turn:
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

    def set_aside(self) -> list[Path]:
        """Files that were given a dated name at some time: what is none of the log's any more, or was damaged."""
        found = set(self._log_dir.glob("prompts.*.kept-*"))
        if self._database.file:
            found |= set(self._database.file.parent.glob(f"{glob.escape(self._database.file.name)}.corrupt-*"))
        return sorted(found)

    def flush(self) -> None:
        """Write what waits in memory and bring both files up to date now. Raises LogUnavailable."""
        try:
            self._outbox.flush()
        finally:
            self._sync_files()

    def status(self) -> LogStatus:
        """How the log is doing, from memory, at no cost."""
        problem = self._outbox.problem or self._mirror_problem or self._mark_problem
        lost, notice = self._pending.lost, self._salvage.notice or self._database.notice
        if problem is None and not len(self._pending):
            return LogStatus(ok=True, lost=lost, notice=notice)
        if problem is None:
            return LogStatus(False, None, "The last interactions are being written.", len(self._pending), lost, notice)
        return LogStatus(False, problem.since, problem.reason, len(self._pending), lost, notice)

    # Behind the scenes

    def pause(self, timeout_s: float) -> bool:
        """Before a fork: let no other thread write or follow. False when one does not come to an end in time."""
        if self._outbox.turn.acquire(timeout=timeout_s):
            if self._following.acquire(timeout=timeout_s):
                return True
            self._outbox.turn.release()
        return False

    def go_on(self) -> None:
        """After a fork, in the parent."""
        self._following.release()
        self._outbox.turn.release()

    def begin_anew(self) -> None:
        """After a fork: connections, threads, locks and what waits belong to the parent."""
        if self._closed:
            return
        self._pending = Pending()
        self._outbox = Outbox(self._writer, self._pending)
        self._beginnings = Beginnings(self._write_beginnings, self._outbox.turn)
        self._following = threading.RLock()
        self._database.leave_to_parent()
        self._mark.leave_to_parent()
        self._follower = Follower(self._catch_up)

    def _sync_files(self) -> None:
        try:
            if self._mirror is not None:
                with self._following:
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
        for task in (self._outbox.flush, self._recover, self._sync_files):
            try:
                task()
            except LogUnavailable as error:
                _logger.debug("The log is degraded: %s", error)
            except Exception as error:
                self._mirror_problem = Problem.of(error, self._mirror_problem)
                raise
        if not self._closed and self._salvage.step(_SALVAGE_SLICE_S):
            self._follower.wake()

    def _restore(self, versions: Sequence[dict[str, Any]], begun: Sequence[dict[str, Any]]) -> None:
        self._outbox.write(lambda: self._writer.restore(versions, begun))

    def _recover(self) -> None:
        """Now and then: what dead processes had begun becomes `interrupted` rows."""
        if time.monotonic() < self._next_recovery:
            return
        try:
            self._outbox.write(self._writer.recover)
            self._mark.sweep()
        except (sa.exc.SQLAlchemyError, ValueError, TypeError, KeyError, OSError):
            _logger.exception("What dead processes had begun cannot be logged.")
        self._next_recovery = time.monotonic() + _RECOVERY_EVERY_S

    def _write_beginnings(self, beginnings: list[Beginning]) -> bool:
        try:
            process = self._mark.name()
            self._outbox.write(lambda: self._writer.begin([beginning.row(process) for beginning in beginnings]))
        except LogUnavailable:
            return False
        except OSError as error:  # of the mark
            problem = LogUnavailable(f"LOG_DIR ({self._log_dir}) cannot be written: {error}")
            self._mark_problem = Problem.of(problem, self._mark_problem)
            return False
        except Exception:
            # A row that can never be written: trying again is no help.
            _logger.exception("The beginnings of %d requests could not be logged.", len(beginnings))
        self._mark_problem = None
        return True


_stores: weakref.WeakSet[LogStore] = weakref.WeakSet()
_paused: list[LogStore] = []


def _pause_before_fork() -> None:
    # What another thread holds of SQLite just then, its locks and its memory, a child would find held for ever.
    _paused[:] = [store for store in _stores if store.pause(_LONGEST_WAIT_TO_FORK_S)]


def _go_on_after_fork() -> None:
    for store in _paused:
        store.go_on()
    _paused.clear()


def _begin_anew_after_fork() -> None:
    _paused.clear()
    for store in list(_stores):
        store.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_pause_before_fork,
        after_in_parent=_go_on_after_fork,
        after_in_child=_begin_anew_after_fork,
    )

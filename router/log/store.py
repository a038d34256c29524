"""The log: one table that is the truth, written by any number of threads and processes."""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from router.errors import LogUnavailable, UnknownPrompt
from router.log.database import Database
from router.log.filter import Filter
from router.log.formats import ENCODED_COLUMNS
from router.log.interaction import Interaction
from router.log.mirror import Follower, Mirror
from router.log.pending import Pending, Record
from router.log.rows import COLUMN_OBJECTS, ROWS_AT_A_TIME, clean, from_columns, to_interaction, to_row
from router.log.schema import interactions, template_versions
from router.log.started import Beginning, Beginnings, ProcessMark
from router.log.writer import Writer

_logger = logging.getLogger(__name__)

EVERYTHING = Filter()
_RECOVERY_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How the log is doing.

    ok: everything is written. since: when that ended, ISO 8601 UTC. reason: why, naming the setting to look at.
    pending: interactions kept in memory until they can be written. lost: those that did not fit there.
    notice: what happened to the log that a person should know, such as a damaged database that was set aside.
    """

    ok: bool
    since: str | None = None
    reason: str | None = None
    pending: int = 0
    lost: int = 0
    notice: str | None = None


class Logged(NamedTuple):
    """An interaction and its number: `seq` rises in the order in which interactions were logged."""

    seq: int
    interaction: Interaction


class _Problem(NamedTuple):
    since: str
    reason: str


class LogStore:
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
        self._database = Database(log_dir, database_url, busy_timeout_s)
        self._writer = Writer(self._database)
        self._mirror = Mirror(log_dir) if mirror else None
        self._mark = ProcessMark(log_dir)
        self._pending = Pending()
        # One write at a time in this process: threads then queue here, in order, not in SQLite's polling.
        self._writing = threading.RLock()
        self._write_problem: _Problem | None = None
        self._mirror_problem: _Problem | None = None
        self._beginnings = Beginnings(self._write_beginnings, self._writing)
        self._next_recovery = 0.0  # on the monotonic clock
        self._closed = False
        with contextlib.suppress(LogUnavailable):
            self._recover()
        self._follower = Follower(self._catch_up)
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

        interaction: as far as it is known. template_text: as for `append`. lasts_s: how long the request can last at
        most.
        Written in the background within some 25 ms, unless the request has ended by then. Never fails.
        """
        if self._can_write():
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
                self._write_problem = _problem(error)
            except (sa.exc.SQLAlchemyError, OverflowError):
                # The row itself cannot be stored. Whoever asked still gets the answer.
                self._pending.remove(record, lost=True)
                _logger.exception("an interaction could not be logged: %s", record.prompt_id)
        self._follower.wake()

    def rate(self, prompt_id: str, rating: int | None) -> None:
        """Set the rating of an interaction, 1 to 5, over any earlier one; None withdraws it. Durable on return.

        Raises ValueError for another rating, UnknownPrompt, LogUnavailable.
        """
        if rating is not None and (type(rating) is not int or not 1 <= rating <= 5):
            raise ValueError(f"A rating is a whole number from 1 to 5, not {rating!r}.")
        with self._writing:
            if self._pending.rate(prompt_id, rating):
                return
            self._writer.rate(clean(prompt_id), rating)
        self._follower.wake()

    def flush(self) -> None:
        """Write what waits in memory and bring both files up to date now. Raises LogUnavailable."""
        try:
            self._write_pending()
        finally:
            self._sync_files()

    def status(self) -> LogStatus:
        """How the log is doing, from memory, at no cost."""
        problem = self._write_problem or self._mirror_problem
        lost, notice = self._pending.lost, self._database.notice
        if problem is None:
            return LogStatus(ok=True, pending=len(self._pending), lost=lost, notice=notice)
        return LogStatus(False, problem.since, problem.reason, len(self._pending), lost, notice)

    # Reading

    def get(self, prompt_id: str) -> Interaction:
        """The interaction with this prompt_id. Raises UnknownPrompt, LogUnavailable."""
        waiting = self._pending.find(prompt_id)
        if waiting is not None:
            return from_columns(waiting.columns)
        found = self.read(sa.select(*COLUMN_OBJECTS).where(interactions.c.prompt_id == clean(prompt_id)))
        if not found:
            raise UnknownPrompt(prompt_id)
        return to_interaction(found[0])

    def conversation(self, conversation_id: str) -> list[Interaction]:
        """The interactions of a conversation in the order they were logged. Raises LogUnavailable."""
        column = interactions.c
        written = sa.select(*COLUMN_OBJECTS).where(column.conversation_id == conversation_id).order_by(column.seq)
        waiting = [from_columns(record.columns) for record in self._pending.of_conversation(conversation_id)]
        return [*map(to_interaction, self.read(written)), *waiting]

    def run(self, run_id: str) -> list[Interaction]:
        """The interactions that were asked side by side, in the order of asking. Raises LogUnavailable."""
        column = interactions.c
        written = sa.select(*COLUMN_OBJECTS).where(column.run_id == run_id).order_by(column.timestamp, column.seq)
        return [*map(to_interaction, self.read(written))]

    def cost_since(self, since: str) -> float:
        """US dollars of the interactions from this ISO 8601 UTC moment on, as far as known. Raises LogUnavailable."""
        spent = sa.select(sa.func.sum(interactions.c.cost_usd)).where(interactions.c.timestamp >= since)
        return float(self.read(spent)[0][0] or 0.0)

    def template_text(self, version: str) -> str | None:
        """The text of a template version that was used, None when it never was. Raises LogUnavailable."""
        found = self.read(sa.select(template_versions.c.text).where(template_versions.c.version == version))
        return found[0].text if found else None

    def count(self, where: Filter = EVERYTHING) -> int:
        """How many interactions pass the filter. Raises LogUnavailable."""
        return int(self.read(sa.select(sa.func.count(interactions.c.seq)).where(*where.conditions()))[0][0])

    def page(self, where: Filter = EVERYTHING, number: int = 1, size: int = 50) -> list[Logged]:
        """Page `number` (from 1) of those that pass the filter, newest first. Raises LogUnavailable."""
        column = interactions.c
        newest_first = (column.timestamp.desc(), column.seq.desc())
        # The pages before this one are skipped in the index alone; only the rows of this page are read.
        keys = (
            sa.select(column.seq)
            .where(*where.conditions())
            .order_by(*newest_first)
            .limit(size)
            .offset((number - 1) * size)
        )
        rows = self.read(sa.select(*ENCODED_COLUMNS).where(column.seq.in_(keys)).order_by(*newest_first))
        return [Logged(row.seq, to_interaction(row)) for row in rows]

    def rows(self, where: Filter = EVERYTHING) -> Iterator[Logged]:
        """Those that pass the filter in the order they were logged, in constant memory. Raises LogUnavailable."""
        for row in self.stream(where):
            yield Logged(row.seq, to_interaction(row))

    def stream(self, where: Filter = EVERYTHING) -> Iterator[sa.Row[Any]]:
        """As `rows`, as they are in the table: `ENCODED_COLUMNS` of `router.log.formats`."""
        statement = sa.select(*ENCODED_COLUMNS).where(*where.conditions()).order_by(interactions.c.seq)
        with self._database.reading() as connection:
            yield from connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(statement)

    def read(self, statement: sa.Select[Any]) -> list[sa.Row[Any]]:
        """All rows of a SELECT on the tables of `router.log.schema`. Raises LogUnavailable."""
        with self._database.reading() as connection:
            return list(connection.execute(statement).all())

    # Behind the scenes

    def _can_write(self) -> bool:
        return self._write_problem is None

    def _write_pending(self) -> None:
        with self._writing:
            try:
                while (record := self._pending.oldest()) is not None:
                    self._write_oldest(record)
                if self._write_problem is not None:
                    self._writer.probe()
            except LogUnavailable as error:
                self._write_problem = _problem(error, self._write_problem)
                raise
            self._write_problem = None

    def _write_oldest(self, record: Record) -> None:
        try:
            self._writer.write(record)
        except (IntegrityError, DataError):
            _logger.exception("The interaction %s can never be written.", record.prompt_id)
            self._pending.remove(record, lost=True)
        else:
            self._pending.remove(record)

    def _sync_files(self) -> None:
        if self._mirror is None:
            return
        try:
            self._mirror.sync(self._database.reading)
        except (LogUnavailable, OSError) as error:
            self._mirror_problem = _problem(error, self._mirror_problem)
            if isinstance(error, LogUnavailable):
                raise
            raise LogUnavailable(f"The files in LOG_DIR ({self._log_dir}) cannot be written: {error}") from error
        self._mirror_problem = None

    def _catch_up(self) -> None:
        try:
            self._recover()
            self.flush()
        except LogUnavailable as error:
            _logger.debug("The log is degraded: %s", error)

    def _recover(self) -> None:
        """Now and then: what dead processes had begun becomes `interrupted` rows."""
        if time.monotonic() < self._next_recovery:
            return
        try:
            with self._writing:
                self._writer.recover()
        except LogUnavailable as error:
            self._write_problem = _problem(error, self._write_problem)
            raise
        self._next_recovery = time.monotonic() + _RECOVERY_EVERY_S

    def _write_beginnings(self, beginnings: list[Beginning]) -> None:
        try:
            process = self._mark.name()
            self._writer.begin([beginning.row(process) for beginning in beginnings])
        except (LogUnavailable, OSError) as error:
            self._write_problem = _problem(error, self._write_problem)
        except sa.exc.SQLAlchemyError:
            _logger.exception("The beginnings of %d requests could not be logged.", len(beginnings))


def _problem(error: Exception, earlier: _Problem | None = None) -> _Problem:
    since = earlier.since if earlier else datetime.now(UTC).isoformat(timespec="milliseconds")
    return _Problem(since, str(error))

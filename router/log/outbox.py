"""Writes to the database, in turn. A row that cannot be written now waits in memory, and is written when it can be."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import sqlalchemy as sa

from router.errors import LogUnavailable
from router.log.pending import Pending, Record
from router.log.status import Problem
from router.log.writer import Writer

_logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_ABOUT_THE_ROW = (sa.exc.SQLAlchemyError, OverflowError)
"""What the writer raises beside LogUnavailable: this row can never be stored."""


class Outbox:
    """Where all writes of a process go through. Thread-safe.

    problem: why nothing can be written at present. While there is one, nobody waits for the database: rows wait, and
    everything else is refused, until `flush` finds that it has passed.
    """

    def __init__(self, writer: Writer, pending: Pending) -> None:
        self._writer = writer
        self._pending = pending
        # One write at a time in this process: threads then queue here, in order, not in SQLite's polling.
        self.turn = threading.RLock()
        self.problem: Problem | None = None

    def append(self, record: Record, has_begun: Callable[[], bool]) -> None:
        """Write a record, or keep it until it can be written. Never fails.

        has_begun: says, in its turn, whether the record's beginning is in the table.
        """
        if self._is_failing():
            has_begun()
            self._pending.add(replace(record, begun=True))  # perhaps; it does no harm
            return
        with self.turn:
            record = replace(record, begun=has_begun())
            if self._is_failing():  # since this one began to wait for the others
                self._pending.add(record)
                return
            try:
                self._writer.write(record)
            except (LogUnavailable, OSError) as error:
                self._pending.add(record)
                self.problem = Problem.of(error)
            except _ABOUT_THE_ROW:
                self._lose(record)  # whoever asked still gets the answer

    def write(self, work: Callable[[], Result]) -> Result:
        """Do something with the writer, in its turn. Raises LogUnavailable, at once while there is a problem."""
        self._check()
        with self.turn:
            self._check()
            try:
                return work()
            except LogUnavailable as error:
                self.problem = Problem.of(error)
                raise

    def flush(self) -> None:
        """Write what waits, and find out whether a problem has passed. Raises LogUnavailable."""
        with self.turn:
            try:
                while (record := self._pending.oldest()) is not None:
                    self._write_oldest(record)
                if self.problem is not None:
                    self._writer.probe()
            except LogUnavailable as error:
                self.problem = Problem.of(error, self.problem)
                raise
            self.problem = None

    def _write_oldest(self, record: Record) -> None:
        try:
            self._writer.write(record)
        except _ABOUT_THE_ROW:
            self._lose(record)
        else:
            self._pending.remove(record)

    def _lose(self, record: Record) -> None:
        self._pending.lose(record)
        _logger.exception("The interaction %s can never be written.", record.prompt_id)

    def _is_failing(self) -> bool:
        return self.problem is not None

    def _check(self) -> None:
        if self.problem is not None:
            raise LogUnavailable(self.problem.reason)

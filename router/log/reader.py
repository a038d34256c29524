"""What can be asked of a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from router.errors import LogUnavailable, UnknownPrompt
from router.log.database import Database
from router.log.filter import Filter
from router.log.formats import ENCODED_COLUMNS
from router.log.interaction import Interaction
from router.log.pending import Pending
from router.log.rows import COLUMN_OBJECTS, ROWS_AT_A_TIME, clean, from_columns, to_interaction
from router.log.schema import clock, interactions, template_versions

EVERYTHING = Filter()
_NEWEST = sa.select(clock.c.seq, clock.c.store_id)
_MOST_ROWS = 250
_PIECE_CHARS = 1 << 20


class Logged(NamedTuple):
    """An interaction and its number: `seq` rises in the order in which interactions were logged."""

    seq: int
    interaction: Interaction


class LogReader:
    """The reading half of `LogStore`: the table, and where one interaction or conversation is meant, what waits too."""

    def __init__(self, database: Database, pending: Pending) -> None:
        self._database = database
        self._pending = pending

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
        """The interactions of a conversation in the order of asking. Raises LogUnavailable."""
        column = interactions.c
        of_this = column.conversation_id == clean(conversation_id)
        # `seq` alone would put what was brought over from a damaged database after what was asked since.
        written = sa.select(*COLUMN_OBJECTS).where(of_this).order_by(column.timestamp, column.seq)
        waiting = self._pending.of_conversation(clean(conversation_id))
        # One that was rated while it was being written is in both.
        ids = {record.prompt_id for record in waiting}
        rows = [row for row in self.read(written) if row.prompt_id not in ids]
        return [*map(to_interaction, rows), *(from_columns(record.columns) for record in waiting)]

    def run(self, run_id: str) -> list[Interaction]:
        """The interactions that were asked side by side, in the order of asking. Raises LogUnavailable."""
        column = interactions.c
        written = (
            sa.select(*COLUMN_OBJECTS).where(column.run_id == clean(run_id)).order_by(column.timestamp, column.seq)
        )
        return [*map(to_interaction, self.read(written))]

    def cost_since(self, since: str) -> float:
        """US dollars of the interactions from this ISO 8601 UTC moment on, as far as known. Raises LogUnavailable."""
        spent = sa.select(sa.func.sum(interactions.c.cost_usd)).where(interactions.c.timestamp >= since)
        return float(self.read(spent)[0][0] or 0.0)

    def template_text(self, version: str) -> str | None:
        """The text of a template version that was used, None when it never was. Raises LogUnavailable."""
        found = self.read(sa.select(template_versions.c.text).where(template_versions.c.version == clean(version)))
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
        """As `rows`, as they are in the table: `ENCODED_COLUMNS` of `router.log.formats`.

        They are read piece by piece, so that who takes them slowly holds up no one: SQLite's -wal would grow, and
        PostgreSQL could not tidy up. What is added meanwhile is left out; what is rated or deleted may show or not.
        """
        seq = interactions.c.seq
        head = self.read(_NEWEST)[0]
        piece = (
            sa.select(*ENCODED_COLUMNS)
            .where(*where.conditions(), seq > sa.bindparam("reached"), seq <= head.seq)
            .order_by(seq)
            .limit(sa.bindparam("number", type_=sa.Integer))
            # By another index SQLite would find, and sort, all of the rest again for every piece.
            .with_hint(interactions, "NOT INDEXED", "sqlite")
        )
        values = {"reached": 0, "number": ROWS_AT_A_TIME}
        while rows := self.read(piece, values):
            yield from rows
            if len(rows) < values["number"]:
                break
            some = rows[::10]
            characters = sum(len(row.prompt) + len(row.response) for row in some) // len(some)
            values = {"reached": rows[-1].seq, "number": min(_MOST_ROWS, max(1, _PIECE_CHARS // (characters + 1)))}
        if self.read(_NEWEST)[0].store_id != head.store_id:
            # Half of one database and half of another is no log.
            raise LogUnavailable("The log's database was replaced while it was read. Try again.")

    def read(self, statement: sa.Select[Any], values: Mapping[str, Any] | None = None) -> list[sa.Row[Any]]:
        """All rows of a SELECT on the tables of `router.log.schema`, with its parameters. Raises LogUnavailable."""
        with self._database.reading() as connection:
            # One statement needs no transaction, which would be two round trips more.
            return list(connection.execution_options(isolation_level="AUTOCOMMIT").execute(statement, values).all())

"""What can be asked of a log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from router.errors import UnknownPrompt
from router.log.database import Database
from router.log.filter import Filter
from router.log.formats import ENCODED_COLUMNS
from router.log.interaction import Interaction
from router.log.pending import Pending
from router.log.rows import COLUMN_OBJECTS, ROWS_AT_A_TIME, clean, from_columns, to_interaction
from router.log.schema import interactions, template_versions

EVERYTHING = Filter()


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
        of_this = column.conversation_id == conversation_id
        # `seq` alone would put what was brought over from a damaged database after what was asked since.
        written = sa.select(*COLUMN_OBJECTS).where(of_this).order_by(column.timestamp, column.seq)
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

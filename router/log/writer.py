"""Every change of the tables: one transaction each. One that changes `interactions` first takes the clock's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from router.errors import UnknownPrompt
from router.log.compiled import Compiled
from router.log.database import Database, DatabaseLost
from router.log.pending import Record
from router.log.schema import clock, interactions, started, template_versions
from router.log.started import CUT_SHORT, abandoned

Result = TypeVar("Result")

_TICK = Compiled(
    clock.update()
    .values(rev=clock.c.rev + 1, seq=clock.c.seq + sa.bindparam("new_rows"))
    .returning(clock.c.rev, clock.c.seq)
)
# Takes the write lock, as `_tick` does, where it is not yet known whether anything will change.
_LOCK = clock.update().values(rev=clock.c.rev)
_TAKE_OUT = clock.update().values(rev=clock.c.rev + 1, rebuilds=clock.c.rebuilds + 1)
_INSERT = interactions.insert()
_INSERT_ONE = Compiled(_INSERT)
_BEGIN = started.insert()
_END_OF_START = started.delete().where(started.c.prompt_id == sa.bindparam("ended"))
_END_OF_ONE_START = Compiled(_END_OF_START)
_RATE = Compiled(
    interactions.update()
    .where(interactions.c.prompt_id == sa.bindparam("rated"))
    .values(rating=sa.bindparam("new_rating"), rev=sa.bindparam("new_rev"))
)


class Writer:
    """Writes to a database; when that is lost (see `DatabaseLost`), to the one that takes its place.

    What is written is durable when a method returns. All of them raise LogUnavailable when it could not be.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, record: Record) -> None:
        """Add an interaction, and its template version when that is new.

        Of one that is there already only the rating changes, unless it was only presumed to be interrupted.
        """
        try:
            self._transaction(lambda connection: _insert(connection, record))
        except IntegrityError:
            if self._has(record.prompt_id):
                # A commit whose acknowledgement was lost is tried again, and the row is there.
                self._transaction(lambda connection: _merge(connection, record))
            else:
                self._transaction(lambda connection: _insert_after_the_newest(connection, record))

    def begin(self, started_rows: list[dict[str, Any]]) -> None:
        """Note that requests have begun."""
        try:
            self._transaction(lambda connection: connection.execute(_BEGIN, started_rows))
        except IntegrityError:  # the acknowledgement of a commit was lost, and some of these may be new
            self._transaction(lambda connection: _restore(connection, (), started_rows))

    def add_all(self, rows: Sequence[dict[str, Any]]) -> int:
        """Add interactions, as `to_row` makes them, in one transaction; those that are there already are left alone.

        Returns how many were new.
        """
        by_id = {row["prompt_id"]: row for row in reversed(rows)}  # of two with one id, the first

        def add_new(connection: sa.Connection) -> int:
            connection.execute(_LOCK)
            of_these = interactions.c.prompt_id.in_(by_id)
            known = set(connection.scalars(sa.select(interactions.c.prompt_id).where(of_these)))
            new = [by_id[prompt_id] for prompt_id in reversed(by_id) if prompt_id not in known]
            if new:
                rev, newest = _tick(connection, new_rows=len(new))
                numbered = enumerate(new, start=newest - len(new) + 1)
                connection.execute(_INSERT, [{**row, "rev": rev, "seq": seq} for seq, row in numbered])
                connection.execute(_END_OF_START, [{"ended": row["prompt_id"]} for row in new])
            return len(new)

        return self._transaction(add_new, many=True)

    def restore(self, versions: Sequence[dict[str, Any]], begun: Sequence[dict[str, Any]]) -> None:
        """Add rows of `template_versions` and of `started`, save those that are there and requests that have ended."""
        self._transaction(lambda connection: _restore(connection, versions, begun), many=True)

    def delete(self, before: str | None, prompt_ids: Sequence[str]) -> int:
        """Take out what came in before a moment, and what has one of these ids: how many interactions were there."""

        def take_out(connection: sa.Connection) -> int:
            connection.execute(_LOCK)
            taken = 0
            for table in (started, interactions):  # what counts comes last
                by_id = table.delete().where(table.c.prompt_id == sa.bindparam("unwanted"))
                taken = sum(connection.execute(by_id, {"unwanted": prompt_id}).rowcount for prompt_id in prompt_ids)
                if before is not None:
                    taken += connection.execute(table.delete().where(table.c.timestamp < before)).rowcount
            if taken:
                connection.execute(_TAKE_OUT)
            return taken

        return self._transaction(take_out, many=True)

    def rate(self, prompt_id: str, rating: int | None) -> None:
        """Set or withdraw the rating of an interaction. Raises UnknownPrompt."""
        if not self._transaction(lambda connection: _set_rating(connection, prompt_id, rating)):
            raise UnknownPrompt(prompt_id)

    def recover(self) -> None:
        """Log the requests that dead processes had begun, as `interrupted`."""

        def log_abandoned(connection: sa.Connection) -> None:
            connection.execute(_LOCK)
            for record in abandoned(connection):
                known = sa.select(interactions.c.seq).where(interactions.c.prompt_id == record.prompt_id)
                if connection.execute(known).first():
                    # It was finished, and its beginning came to the table only after that.
                    connection.execute(_END_OF_START, {"ended": record.prompt_id})
                else:
                    _insert(connection, record)

        if self._transaction(abandoned):
            self._transaction(log_abandoned)

    def probe(self) -> None:
        """Find out whether the database can be written."""
        self._transaction(lambda connection: connection.execute(_LOCK))

    def _transaction(self, work: Callable[[sa.Connection], Result], *, many: bool = False) -> Result:
        try:
            with self._database.writing(many=many) as connection:
                return work(connection)
        except DatabaseLost:
            with self._database.writing(many=many) as connection:
                return work(connection)

    def _has(self, prompt_id: str) -> bool:
        known = sa.select(interactions.c.seq).where(interactions.c.prompt_id == prompt_id)
        with self._database.reading() as connection:
            return connection.execute(known).first() is not None


def _tick(connection: sa.Connection, *, new_rows: int) -> tuple[int, int]:
    """Move the clock on: the new `rev`, and the newest `seq`.

    It takes the write lock until the commit, on SQLite and PostgreSQL alike, so that changes are committed in the
    order of their revs and no transaction has to give up half-way.
    """
    rev, seq = _TICK.execute(connection, {"new_rows": new_rows}).one()
    return rev, seq


def _insert(connection: sa.Connection, record: Record) -> None:
    rev, seq = _tick(connection, new_rows=1)
    _INSERT_ONE.execute(connection, {**record.columns, "rev": rev, "seq": seq})
    if record.begun:
        _END_OF_ONE_START.execute(connection, {"ended": record.prompt_id})
    version = record.columns["template_version"]
    if version is None or record.template_text is None:
        return
    # No other writer can come between this look and the insert: the tick holds the clock until the commit.
    if connection.execute(sa.select(template_versions.c.version).where(template_versions.c.version == version)).first():
        return
    connection.execute(
        template_versions.insert().values(
            version=version,
            name=record.columns["template"] or "",
            text=record.template_text,
            first_used=record.columns["timestamp"],
        )
    )


def _restore(connection: sa.Connection, versions: Sequence[dict[str, Any]], begun: Sequence[dict[str, Any]]) -> None:
    connection.execute(_LOCK)
    for row in versions:
        _add_unless_known(connection, row, template_versions.c.version)
    for row in begun:
        _add_unless_known(connection, row, started.c.prompt_id, interactions.c.prompt_id)


def _insert_after_the_newest(connection: sa.Connection, record: Record) -> None:
    """Set the clock right, should someone else have written to the tables, and add the record."""
    newest = sa.select(sa.func.coalesce(sa.func.max(interactions.c.seq), 0)).scalar_subquery()
    connection.execute(clock.update().values(seq=newest))
    _insert(connection, record)


def _add_unless_known(
    connection: sa.Connection, row: dict[str, Any], key: sa.Column[Any], *ended: sa.Column[Any]
) -> None:
    known = (sa.select(column).where(column == row[key.name]) for column in (key, *ended))
    if not any(connection.execute(select).first() for select in known):
        connection.execute(sa.insert(key.table), row)


def _merge(connection: sa.Connection, record: Record) -> None:
    """Bring to a row what is known since: a rating, or its end, where the request had been given up for dead.

    In that case, the files are built anew.
    """
    connection.execute(_LOCK)
    column = interactions.c
    presumed = interactions.delete().where(column.prompt_id == record.prompt_id, column.error == CUT_SHORT)
    found = connection.execute(presumed.returning(column.rating)).first()
    if found is not None:
        connection.execute(_TAKE_OUT)
        rating = record.columns["rating"] if record.rated else found.rating
        _insert(connection, replace(record, columns={**record.columns, "rating": rating}))
    elif record.rated:
        _set_rating(connection, record.prompt_id, record.columns["rating"])


def _set_rating(connection: sa.Connection, prompt_id: str, rating: int | None) -> bool:
    """False when there is no such row."""
    rev, _ = _tick(connection, new_rows=0)
    return _RATE.execute(connection, {"rated": prompt_id, "new_rating": rating, "new_rev": rev}).rowcount > 0

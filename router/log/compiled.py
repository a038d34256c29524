"""Statements that run for every request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa


class Compiled:
    """An INSERT, UPDATE or DELETE of plain values, put together once for each kind of database.

    At each execution SQLAlchemy looks a statement up in its cache by all its parts. That costs a write about as much as
    SQLite's own part in it, the disk aside.
    """

    def __init__(self, statement: sa.UpdateBase) -> None:
        self._statement = statement
        self._texts: dict[str, tuple[str, list[str] | None, Mapping[str, Any]]] = {}

    def execute(self, connection: sa.Connection, values: Mapping[str, Any]) -> sa.CursorResult[*tuple[Any, ...]]:
        """Run it with a value for every parameter, as `Connection.execute` would. Raises SQLAlchemyError."""
        dialect = connection.dialect
        if dialect.name not in self._texts:
            compiled = self._statement.compile(dialect=dialect)
            self._texts[dialect.name] = compiled.string, compiled.positiontup, compiled.params
        text, order, constants = self._texts[dialect.name]
        given = {**constants, **values}
        return connection.exec_driver_sql(text, given if order is None else tuple(given[name] for name in order))

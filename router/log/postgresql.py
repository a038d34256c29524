"""Connections to PostgreSQL that give up on a server that no longer answers.

A server that is gone refuses; one whose machine froze, or that a network no longer reaches, says nothing, and libpq
has no timeout for that.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import _WaitTimeout
from sqlalchemy.exc import InvalidatePoolError

_CONNECT_TIMEOUT_S = 3
# Needs no file descriptor of its own; Windows has no poll.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class ImpatientConnection(psycopg.Connection[Any]):
    """Waits so many seconds for each answer of the server, for ever when None."""

    patience_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As `psycopg.Connection.wait`. Raises OperationalError, and is closed, when no answer came in time."""
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except _WaitTimeout:
            self.pgconn.finish()  # the answer may still come, and would be taken for that to another question
            raise psycopg.OperationalError(f"no answer within {self.patience_s:g} s") from None


def connector(patience_s: float) -> Callable[[object, object, Any, Any], ImpatientConnection]:
    """What connects in SQLAlchemy's stead (its event `do_connect`). It raises psycopg.OperationalError.

    patience_s: how long to wait for an answer. For a lock it is somewhat less: a server does not notice that who waited
    for one has gone, and a session of it would stay behind for each.
    """

    def connect(_dialect: object, _record: object, arguments: Any, parameters: Any) -> ImpatientConnection:
        connection = ImpatientConnection.connect(*arguments, **{"connect_timeout": _CONNECT_TIMEOUT_S, **parameters})
        connection.patience_s = patience_s
        try:
            connection.execute(sql.SQL("SET lock_timeout = {}").format(int(900 * patience_s)))  # milliseconds
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    return connect


def discard_if_closed(connection: Any, _record: object, _fairy: object) -> None:
    """Have a connection made anew that the server closed while it lay in the pool (SQLAlchemy's event `checkout`).

    `pool_pre_ping` would ask the server, which costs every write a round trip more.
    """
    # Nobody has asked it anything: what it has to say is farewell, or a change of settings, which is worth no more.
    if connection.closed or _has_something_to_say(connection.pgconn.socket):
        raise InvalidatePoolError


def _has_something_to_say(socket: int) -> bool:
    with _Selector() as selector:
        selector.register(socket, selectors.EVENT_READ)
        return bool(selector.select(0))

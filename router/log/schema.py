"""The tables of the log, and the numbered migrations that make them, on SQLite and PostgreSQL alike.

clock               one row: `seq` of the newest interaction, `rev` of the newest change, `rebuilds` (how often rows
                    were taken out), `store_id` (which database this is). Every change of `interactions` moves it on.
interactions        one row per finished request; `rev` is the clock's rev of its last change.
started             requests that have begun and not ended; what is left here by a dead process becomes `interrupted`.
template_versions   the text of every template version that was ever used.
schema_version      one row: how many of MIGRATIONS have been applied.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import sqlalchemy as sa

_metadata = sa.MetaData()

clock = sa.Table(
    "clock",
    _metadata,
    sa.Column("id", sa.Integer),
    sa.Column("rev", sa.BigInteger),
    sa.Column("seq", sa.Integer),
    sa.Column("rebuilds", sa.Integer),
    sa.Column("store_id", sa.Text),
)

interactions = sa.Table(
    "interactions",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("rev", sa.BigInteger),
    sa.Column("prompt_id", sa.Text),
    sa.Column("timestamp", sa.Text),
    sa.Column("provider", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("requested_model", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("prompt", sa.Text),
    sa.Column("response", sa.Text),
    sa.Column("latency_ms", sa.Double),
    sa.Column("ttft_ms", sa.Double),
    sa.Column("token_count", sa.Integer),
    sa.Column("prompt_tokens", sa.Integer),
    sa.Column("completion_tokens", sa.Integer),
    sa.Column("token_source", sa.Text),
    sa.Column("cost_usd", sa.Double),
    sa.Column("rating", sa.Integer),
    sa.Column("template", sa.Text),
    sa.Column("template_version", sa.Text),
    sa.Column("system", sa.Text),
    sa.Column("params", sa.Text),
    sa.Column("conversation_id", sa.Text),
    sa.Column("run_id", sa.Text),
    sa.Column("parent_id", sa.Text),
    sa.Column("attempts", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("finish_reason", sa.Text),
)

started = sa.Table(
    "started",
    _metadata,
    sa.Column("prompt_id", sa.Text),
    sa.Column("timestamp", sa.Text),
    sa.Column("host", sa.Text),
    sa.Column("process", sa.Text),
    sa.Column("request", sa.Text),
    sa.Column("expires", sa.Text),
)

template_versions = sa.Table(
    "template_versions",
    _metadata,
    sa.Column("version", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("first_used", sa.Text),
)

_schema_version = sa.Table("schema_version", _metadata, sa.Column("version", sa.Integer))
_VERSION = sa.select(_schema_version.c.version)


def _first_tables(connection: sa.Connection) -> None:
    for statement in (
        """CREATE TABLE clock (
            id INTEGER PRIMARY KEY, rev BIGINT NOT NULL, seq INTEGER NOT NULL,
            rebuilds INTEGER NOT NULL, store_id TEXT NOT NULL)""",
        # "INTEGER PRIMARY KEY" is SQLite's own row number: rows lie in the order of seq. In PostgreSQL it is 32 bits.
        """CREATE TABLE interactions (
            seq INTEGER PRIMARY KEY, rev BIGINT NOT NULL, prompt_id TEXT NOT NULL UNIQUE, timestamp TEXT NOT NULL,
            provider TEXT NOT NULL, model TEXT NOT NULL, requested_model TEXT NOT NULL, status TEXT NOT NULL,
            prompt TEXT NOT NULL, response TEXT NOT NULL, latency_ms DOUBLE PRECISION, ttft_ms DOUBLE PRECISION,
            token_count INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
            token_source TEXT NOT NULL, cost_usd DOUBLE PRECISION, rating INTEGER, template TEXT, template_version TEXT,
            system TEXT, params TEXT NOT NULL, conversation_id TEXT, run_id TEXT, parent_id TEXT,
            attempts TEXT NOT NULL, error TEXT, finish_reason TEXT)""",
        "CREATE INDEX interactions_rev ON interactions (rev)",
        "CREATE INDEX interactions_conversation ON interactions (conversation_id)",
        "CREATE INDEX interactions_run ON interactions (run_id)",
        # Covers the charts and the pages of the history: neither touches the rows with their long texts.
        """CREATE INDEX interactions_analytics ON interactions (
            timestamp, seq, model, provider, template, status, rating, latency_ms, ttft_ms, token_count, cost_usd)""",
        """CREATE TABLE started (
            prompt_id TEXT PRIMARY KEY, timestamp TEXT NOT NULL, host TEXT NOT NULL, process TEXT NOT NULL,
            request TEXT NOT NULL)""",
        """CREATE TABLE template_versions (
            version TEXT PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, first_used TEXT NOT NULL)""",
    ):
        connection.execute(sa.text(statement))
    connection.execute(clock.insert().values(id=1, rev=0, seq=0, rebuilds=0, store_id=uuid.uuid4().hex))


def _expiry_of_started(connection: sa.Connection) -> None:
    # What a host that never came back had begun could not be told from what it was still answering.
    connection.execute(sa.text("ALTER TABLE started ADD COLUMN expires TEXT"))
    connection.execute(sa.text("UPDATE started SET expires = timestamp"))


MIGRATIONS: list[Callable[[sa.Connection], None]] = [_first_tables, _expiry_of_started]
"""Applied in this order, each exactly once. Append to it; never change one that was released."""

_POSTGRESQL_LOCK = 7_402_117_001  # any number that nobody else uses in the same database


def is_current(connection: sa.Connection) -> bool:
    """Whether the database has the newest schema. Waits for no one."""
    return _has_version(connection) and connection.scalar(_VERSION) == len(MIGRATIONS)


def migrate(engine: sa.Engine) -> None:
    """Bring the database to the newest schema. Any number of processes may call this at once.

    Raises RuntimeError when the database was made by a newer version of this program.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            # A replica that was stopped in the midst of this must not stop all others.
            connection.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRESQL_LOCK)))
        if not _has_version(connection):
            connection.execute(sa.text("CREATE TABLE schema_version (version INTEGER NOT NULL)"))
        version = connection.scalar(_VERSION)
        if version is None:
            version = 0
            connection.execute(_schema_version.insert().values(version=0))
        if version > len(MIGRATIONS):
            raise RuntimeError(
                f"The log's schema is version {version}; this program knows {len(MIGRATIONS)}. Update the program."
            )
        for migration in MIGRATIONS[version:]:
            migration(connection)
        if version < len(MIGRATIONS):
            connection.execute(_schema_version.update().values(version=len(MIGRATIONS)))


def _has_version(connection: sa.Connection) -> bool:
    # PostgreSQL refuses `CREATE … IF NOT EXISTS` to a role that may use the tables but not make any.
    return sa.inspect(connection).has_table(_schema_version.name)

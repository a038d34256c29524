"""What can still be read of a damaged SQLite file of the log: whole rows that can be what they say, nothing else."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import sqlalchemy as sa

from router.log.interaction import COLUMNS, Interaction
from router.log.rows import clean, from_columns
from router.log.schema import started, template_versions
from router.types import Status

_LONGEST_VALUE_BYTES = 100_000_000  # a damaged length must not fill the memory
_LARGEST_NUMBER = 2**63 - 1
_MOST_STEPS_BESIDE = 1000
_MOST_OUT_OF_ORDER = 100

_ABOUT_THE_CONTENT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG)
_TYPES: dict[str, Any] = get_type_hints(Interaction) | {"latency_ms": float | None, "params": dict, "attempts": list}


def connect(path: Path) -> sqlite3.Connection:
    """Open a damaged file, and its -wal, to be read. Neither is changed. Raises sqlite3.Error."""
    wal = path.with_name(f"{path.name}-wal")
    # `immutable` leaves no file behind, but does not look into the -wal.
    how = "mode=ro" if wal.exists() and wal.stat().st_size else "immutable=1"
    file = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    file.row_factory = sqlite3.Row
    file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE_BYTES)
    file.execute("PRAGMA cell_size_check = ON")
    # In a file that is only read, this means: go on where an index is described wrongly.
    file.execute("PRAGMA writable_schema = ON")
    return file


def is_final(error: sqlite3.Error) -> bool:
    """Whether an error is about what the file holds, which will not change."""
    code = getattr(error, "sqlite_errorcode", None)  # a text that is not UTF-8 has none
    return code is None or (code & 0xFF) in _ABOUT_THE_CONTENT


def readable_interactions(
    file: sqlite3.Connection, first: int, most_steps: int
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The interactions from a `seq` on, as `to_row` makes them, each with the `seq` up to which all were looked at.

    None for each step from one `seq` to the next over damage, an empty dict for a row that can be no interaction.
    most_steps: after how many to give up. Raises sqlite3.Error where another time may be better.
    """
    file.execute("SELECT 1 FROM interactions LIMIT 0")  # without a header or a schema, this is the end of it
    for seq, row in _rows(file, "interactions", first, _newest_seq(file), most_steps):
        columns = {name: row[name] for name in COLUMNS if name in row} if row else {}
        yield seq, None if row is None else columns if _is_interaction(columns) else {}


def used_templates(file: sqlite3.Connection) -> list[dict[str, Any]]:
    """The rows of `template_versions`. Raises sqlite3.Error where another time may be better."""
    return [row for row in _readable(file, template_versions) if all(isinstance(value, str) for value in row.values())]


def begun_requests(file: sqlite3.Connection) -> list[dict[str, Any]]:
    """The rows of `started`. Raises sqlite3.Error where another time may be better."""
    return [row for row in _readable(file, started) if _is_request(row)]


def _rows(
    file: sqlite3.Connection, table: str, first: int, last: int, most_steps: int
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The rows of a table from a number on, each with the number up to which all were looked at; None for a step.

    A step over damage goes to the next number. last: beyond it, none is taken.
    """
    # By their place in the table: an index can be damaged too, and is not needed.
    select = f"SELECT rowid AS number, * FROM {table} NOT INDEXED WHERE rowid >= ? ORDER BY rowid"  # noqa: S608
    low, steps = first, 0
    while True:
        previous, out_of_order = low - 1, 0
        try:
            for row in file.execute(select, (low,)):
                number = row["number"]
                # A number can be damaged as well: it is believed when a larger one follows.
                if number > previous:
                    low = max(low, previous + 1)
                else:
                    out_of_order += 1
                    if out_of_order > _MOST_OUT_OF_ORDER:  # pages that lead to one another
                        break
                previous = number
                yield low - 1, dict(row)
            else:
                return
        except sqlite3.DatabaseError as error:
            if not is_final(error):
                raise
        # Python reads a row ahead, and loses the one before the damage.
        with suppress(sqlite3.DatabaseError):
            for row in file.execute(f"{select} LIMIT 1", (low,)):
                yield low - 1, dict(row)
        low, steps = low + 1, steps + 1
        yield low - 1, None
        if low > last or steps > most_steps:
            return


def _readable(file: sqlite3.Connection, table: sa.Table) -> Iterator[dict[str, Any]]:
    for _, row in _rows(file, table.name, 1, _LARGEST_NUMBER, _MOST_STEPS_BESIDE):
        if row is not None:
            columns = {name: row.get(name) for name in table.c.keys()}  # noqa: SIM118
            if clean(columns) == columns:
                yield columns


def _newest_seq(file: sqlite3.Connection) -> int:
    with suppress(sqlite3.DatabaseError):
        (seq,) = file.execute("SELECT max(seq) FROM clock").fetchone()
        if isinstance(seq, int):
            return seq
    return _LARGEST_NUMBER


def _is_interaction(columns: dict[str, Any]) -> bool:
    try:
        interaction = from_columns(columns)
        datetime.fromisoformat(interaction.timestamp)
        interaction.answer()
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return (
        all(isinstance(getattr(interaction, name), kind) for name, kind in _TYPES.items())
        and interaction.status in get_args(Status)
        and interaction.rating in (None, 1, 2, 3, 4, 5)
        and clean(columns) == columns
    )


def _is_request(row: dict[str, Any]) -> bool:
    if not all(isinstance(value, str) for name, value in row.items() if name != "expires"):
        return False
    try:
        columns = json.loads(row["request"])
        text = columns.pop("template_text", None)
        ours = columns["prompt_id"] == row["prompt_id"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False
    return ours and isinstance(text, str | None) and isinstance(row["expires"], str | None) and _is_interaction(columns)

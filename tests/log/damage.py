"""Damaging a SQLite file as a failing disk does: page by page."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

PAGE_BYTES = 4096
_LEAF_OF_A_TABLE, _LEAF_OF_AN_INDEX, _INNER_OF_A_TABLE = b"\x0d", b"\x0a", b"\x05"


def leaves_with(database: Path, texts: set[str]) -> dict[int, set[str]]:
    """The leaf pages of tables, by number, that hold some of these texts."""
    found = {
        number: {text for text in texts if text.encode() in page}
        for number, page in enumerate(_pages(database))
        if page[:1] == _LEAF_OF_A_TABLE
    }
    return {number: some for number, some in found.items() if some}


def index_leaves(database: Path) -> list[int]:
    """The leaf pages of all indexes."""
    return [number for number, page in enumerate(_pages(database)) if page[:1] == _LEAF_OF_AN_INDEX]


def inner_pages(database: Path) -> list[int]:
    """The pages of tables that lead to others."""
    return [number for number, page in enumerate(_pages(database)) if page[:1] == _INNER_OF_A_TABLE]


def overwrite(database: Path, pages: list[int], content: Callable[[], bytes] = lambda: b"\xff" * PAGE_BYTES) -> bytes:
    """Put something else where these pages are. Returns the whole file as it is then."""
    with database.open("r+b") as file:
        for number in pages:
            file.seek(number * PAGE_BYTES)
            file.write(content())
    return database.read_bytes()


def noise(seed: int) -> Callable[[], bytes]:
    """Pages of random bytes, the same for the same seed."""
    generator = random.Random(seed)
    return lambda: generator.randbytes(PAGE_BYTES)


def change(database: Path, *statements: str) -> None:
    """Write what the log itself would never write."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def _pages(database: Path) -> list[bytes]:
    content = database.read_bytes()
    return [content[at : at + PAGE_BYTES] for at in range(0, len(content), PAGE_BYTES)]

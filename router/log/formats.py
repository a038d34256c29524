"""How a row is written in `prompts.json` and `prompts.csv`: the one place that decides, for the mirror and the exports.

A file is `head`, then each row after `opening` (the first) or `separator` (the others), then `foot`. Three rules let
the mirror find a row by bisection and change its rating without moving anything else:
- `separator` never occurs inside a row: JSON escapes newlines, and in a CSV cell they are written as "\\n" alone;
- the last column is `seq`, the row's number, which rises from row to row;
- `seq` is padded so that a row has the same length with and without a rating.
"""

from __future__ import annotations

import csv
from json.encoder import encode_basestring
from typing import Any, Protocol

import sqlalchemy as sa

from router.log.interaction import COLUMNS
from router.log.rows import COLUMN_OBJECTS
from router.log.schema import interactions

FILE_COLUMNS: tuple[str, ...] = (*COLUMNS, "seq")
ENCODED_COLUMNS = (*COLUMN_OBJECTS, interactions.c.seq)
"""What to select, in this order, for `Format.encode`."""

_RATING = COLUMNS.index("rating")
FORMULA_BEGINS = frozenset("=+-@\t\n")
_RAW_JSON = {COLUMNS.index("params"), COLUMNS.index("attempts")}


class Format(Protocol):
    """A way to write a log as a file."""

    head: bytes
    opening: bytes
    separator: bytes
    foot: bytes

    def encode(self, row: sa.Row[Any]) -> bytes:
        """The row as bytes, without what goes before and after; it holds ENCODED_COLUMNS."""

    def seq_of(self, row_end: bytes) -> int:
        """The `seq` of a row, from its last 32 bytes."""


class JsonFormat:
    """One JSON array, a row per line, exact."""

    head, opening, separator, foot = b"[", b"\n", b",\n", b"\n]\n"
    _keys = tuple(("{" if number == 0 else ",") + f'"{name}":' for number, name in enumerate(FILE_COLUMNS))
    _rating_and_seq_width = len("null") + 10

    def encode(self, row: sa.Row[Any]) -> bytes:
        """See `Format.encode`."""
        values = [
            value if place in _RAW_JSON else self._value(value) for place, value in enumerate(row[: len(COLUMNS)])
        ]
        values.append(str(row[-1]).rjust(self._rating_and_seq_width - len(values[_RATING])))
        return ("".join([part for pair in zip(self._keys, values, strict=True) for part in pair]) + "}").encode()

    @staticmethod
    def _value(value: str | float | None) -> str:
        if value is None:
            return "null"
        return encode_basestring(value) if isinstance(value, str) else repr(value)

    def seq_of(self, row_end: bytes) -> int:
        """See `Format.seq_of`."""
        return int(row_end.rpartition(b":")[2].rstrip(b"}"))


class _Echo:
    def write(self, text: str) -> str:
        return text


class CsvFormat:
    r"""A header row and \r\n line ends, for people and spreadsheets.

    Line ends inside a cell are "\n". A text cell that a spreadsheet could take for a formula (one that begins with
    = + - @, a tab or a line end) gets a leading '. An unknown value and an empty text are both an empty cell.
    """

    head, opening, separator, foot = ",".join(FILE_COLUMNS).encode(), b"\r\n", b"\r\n", b"\r\n"
    _rating_and_seq_width = 11

    def __init__(self) -> None:
        # csv's writerow returns what the file's write returned, and here that is the line itself.
        self._writer = csv.writer(_Echo(), lineterminator="\r\n")

    def encode(self, row: sa.Row[Any]) -> bytes:
        """See `Format.encode`."""
        cells = [self._cell(value) if isinstance(value, str) else value for value in row]
        rating_width = 0 if cells[_RATING] is None else 1
        cells[-1] = str(row[-1]).zfill(self._rating_and_seq_width - rating_width)
        line: Any = self._writer.writerow(cells)
        return str(line).removesuffix("\r\n").encode()

    @staticmethod
    def _cell(text: str) -> str:
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return "'" + text if text[:1] in FORMULA_BEGINS else text

    def seq_of(self, row_end: bytes) -> int:
        """See `Format.seq_of`."""
        return int(row_end.rpartition(b",")[2])

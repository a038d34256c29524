"""How a row is written in `prompts.json` and `prompts.csv`: the one place that decides, for the mirror and the exports.

A file is `head`, then each row after `opening` (the first) or `separator` (the others), then `foot`. Three rules let
the mirror find a row by bisection and change its rating without moving anything else:
- `separator` never occurs inside a row: JSON escapes newlines, and in a CSV cell they are written as "\\n" alone;
- the last column is `seq`, the row's number, which rises from row to row;
- `seq` is padded so that a row has the same length with and without a rating.
"""

from __future__ import annotations

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


class CsvFormat:
    r"""A header row and \r\n line ends, for people and spreadsheets.

    Line ends inside a cell are "\n". A text cell that a spreadsheet could take for a formula (one that begins with
    = + - @, a tab or a line end) gets a leading '. An unknown value and an empty text are both an empty cell.
    """

    head, opening, separator, foot = ",".join(FILE_COLUMNS).encode(), b"\r\n", b"\r\n", b"\r\n"
    _rating_and_seq_width = 11

    def encode(self, row: sa.Row[Any]) -> bytes:
        """See `Format.encode`."""
        cells = ["" if value is None else self._cell(value) if isinstance(value, str) else repr(value) for value in row]
        cells[-1] = cells[-1].zfill(self._rating_and_seq_width - len(cells[_RATING]))
        return ",".join(cells).encode()

    @staticmethod
    def _cell(text: str) -> str:
        # Quoted as `csv.writer` does it, which takes three times as long: it looks at every character by itself.
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if text[:1] in FORMULA_BEGINS:
            text = "'" + text
        if '"' in text:
            return '"' + text.replace('"', '""') + '"'
        return f'"{text}"' if "," in text or "\n" in text else text

    def seq_of(self, row_end: bytes) -> int:
        """See `Format.seq_of`."""
        return int(row_end.rpartition(b",")[2])

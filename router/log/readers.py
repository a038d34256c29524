"""Reads the rows of a log file, JSON or CSV, ours or another program's, in memory that does not grow with the file.

What cannot be read is told by its line, and reading goes on behind it.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from router.log.formats import FILE_COLUMNS, FORMULA_BEGINS

KNOWN_COLUMNS = frozenset({*FILE_COLUMNS, "latency"})
"""What a `Row` may name. `latency` has no unit in its name; `seq` is another log's numbering."""

_READ_CHARS = 1 << 20
_LONGEST_ITEM_CHARS = 1 << 26
_LONGEST_CELL_CHARS = 1 << 24  # csv keeps four bytes for each while it reads
_LONGEST_LINE_CHARS = 2 * _LONGEST_CELL_CHARS
_BETWEEN_ITEMS = re.compile(r"[\s,]*")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what errors="surrogateescape" makes of a byte that is none
_LONGEST_TOKEN_CHARS = 16  # -Infinity, or a \u escape with its pair
_LONGEST_KNOWN_SPELLING = 40
_OTHER_SPELLINGS = {"tokens": "token_count"}
_NO_UTF8 = "It is not UTF-8 text."
_decoder = json.JSONDecoder()


class UnreadableFile(ValueError):
    """The file is neither a JSON nor a CSV log; nothing was read from it."""


class Row(NamedTuple):
    """A row and the line where it begins. values: by column, spelled as in the log; None where a CSV cell is empty."""

    line: int
    values: dict[str, Any]


class BadRow(NamedTuple):
    """What cannot be read, the line where it begins, and why."""

    line: int
    reason: str


def open_text(path: Path) -> io.TextIOWrapper:
    """Open a file for `read`. Raises OSError."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def read(text: io.TextIOWrapper) -> Iterator[Row | BadRow]:
    """The rows of a JSON array, of JSON lines, or of a CSV file with a header: whichever the content is.

    text: as `open_text` opens it. Raises UnreadableFile.
    """
    assert isinstance(text.buffer, io.BufferedReader)
    head = text.buffer.peek()
    if head.startswith(b"PAR1"):
        raise UnreadableFile("is a Parquet file. What import reads is JSON and CSV.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
        raise UnreadableFile("is not UTF-8 text (UTF-16, perhaps). Save it as UTF-8.")
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if not begin:
        raise UnreadableFile("is empty.")
    return _JsonReader(text).rows() if begin in b"[{" else _csv_rows(text)


class _JsonReader:
    """A window on the text that moves from item to item and knows its line."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._window = ""
        self._at = 0
        self._line = 1
        self._gave_up = False

    def rows(self) -> Iterator[Row | BadRow]:
        """The items of the array, or those that stand one after another."""
        in_array = self._next_char() == "["
        if in_array:
            self._move(self._at + 1)
        while (char := self._next_char()) and not (in_array and char == "]"):
            yield self._item()
        if in_array and char:
            self._move(self._at + 1)
            if self._next_char():
                yield BadRow(self._line, "Something follows the end of the array, and was not read.")
        elif in_array and not self._gave_up:
            yield BadRow(self._line, "The file is cut off here: its array has no end.")

    def _next_char(self) -> str:
        """The first character of the next item, or of the end of the array; "" at the end of the file."""
        while True:
            between = _BETWEEN_ITEMS.match(self._window, self._at)
            assert between is not None
            self._move(between.end())
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._grow():
                return ""

    def _item(self) -> Row | BadRow:
        while True:
            try:
                value, end = _decoder.raw_decode(self._window, self._at)
            except json.JSONDecodeError as error:
                may_go_on = error.msg.startswith("Unterminated") or len(self._window) - error.pos < _LONGEST_TOKEN_CHARS
                if may_go_on and len(self._window) - self._at > _LONGEST_ITEM_CHARS:
                    return self._skip(f"It is longer than {_LONGEST_ITEM_CHARS:,} characters.")
                if may_go_on and self._grow():
                    continue
                rest = self._window[error.pos :].strip()
                cut_off = error.msg.startswith("Unterminated") or not rest or rest.isalnum()
                return self._skip("It is cut off." if cut_off else f"It is not JSON: {error.msg}.")
            except RecursionError:
                return self._skip("It is nested too deep.")
            except ValueError:
                return self._skip("It holds a number of thousands of digits.")
            return self._checked(value, end)

    def _checked(self, value: Any, end: int) -> Row | BadRow:
        line, is_utf8 = self._line, not _NOT_UTF8.search(self._window, self._at, end)
        self._move(end)
        if not is_utf8:
            return BadRow(line, _NO_UTF8)
        if not isinstance(value, dict):
            return BadRow(line, "It is not an object.")
        columns = [_column(name) for name in value]
        if twice := _named_twice(columns):
            return BadRow(line, twice)
        return Row(line, dict(zip(columns, value.values(), strict=True)))

    def _skip(self, reason: str) -> BadRow:
        """Past an item that could not be read: to the next line that begins one, or to the end."""
        bad = BadRow(self._line, reason)
        while (found := self._window.find("\n{", self._at)) < 0:
            self._move(max(self._at, len(self._window) - 1))
            if not self._grow():
                self._gave_up = True
                found = len(self._window) - 1
                break
        self._move(found + 1)
        return bad

    def _move(self, to: int) -> None:
        self._line += self._window.count("\n", self._at, to)
        self._at = to

    def _grow(self) -> bool:
        """Read more; False at the end of the file. Reading as much again as is there keeps a long item cheap."""
        kept = self._window[self._at :]
        more = self._text.read(max(_READ_CHARS, min(len(kept), _LONGEST_ITEM_CHARS - len(kept))))
        self._window, self._at = kept + more, 0
        return bool(more)


def _csv_rows(text: TextIO) -> Iterator[Row | BadRow]:
    csv.field_size_limit(_LONGEST_CELL_CHARS)
    reader = csv.reader(_lines(text), strict=True)
    try:
        columns = [_column(name) for name in next(filter(None, reader), [])]
    except csv.Error as error:
        raise UnreadableFile(f"is neither JSON nor CSV: {error}.") from error
    if missing := [name for name in ("prompt", "timestamp") if name not in columns]:
        raise UnreadableFile(f"is neither JSON nor CSV with a column {missing[0]!r} named in its first line.")
    if twice := _named_twice(columns):
        raise UnreadableFile(f"cannot be read. {twice}")
    return _rows_below(reader, columns)


def _rows_below(reader: Any, columns: list[str]) -> Iterator[Row | BadRow]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(line, f"It is not CSV: {error}.")
            continue
        if not cells:
            continue
        if len(cells) != len(columns):
            yield BadRow(line, f"It has {len(cells)} cells, and the header has {len(columns)}.")
        elif any(map(_NOT_UTF8.search, cells)):
            yield BadRow(line, _NO_UTF8)
        else:
            yield Row(line, dict(zip(columns, map(_value, cells), strict=True)))


def _lines(text: TextIO) -> Iterator[str]:
    while line := text.readline(_LONGEST_LINE_CHARS):
        yield line
        while line and not line.endswith(("\n", "\r")):  # the rest of one that is too long, and fails as a cell that is
            line = text.readline(_LONGEST_LINE_CHARS)


def _value(cell: str) -> str | None:
    """Undoes what `CsvFormat` does to a text that looks like a formula."""
    return (cell[1:] if cell[:1] == "'" and cell[1:2] in FORMULA_BEGINS else cell) or None


def _column(name: str) -> str:
    return _spelled_as_here(name) if len(name) <= _LONGEST_KNOWN_SPELLING else name


@lru_cache(maxsize=1000)
def _spelled_as_here(name: str) -> str:
    column = re.sub(r"[\s_-]+", "_", name.strip().lower())
    return _OTHER_SPELLINGS.get(column, column)


def _named_twice(columns: list[str]) -> str | None:
    if len(set(columns)) == len(columns):
        return None
    named = next((name for name, times in Counter(columns).items() if times > 1 and name in KNOWN_COLUMNS), None)
    return named and f"It names the column {named!r} twice."

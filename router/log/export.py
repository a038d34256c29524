"""Downloads of the log: the same bytes as in `prompts.csv` and `prompts.json`, filtered, in constant memory."""

from __future__ import annotations

from collections.abc import Generator

from router.log.filter import Filter
from router.log.formats import CsvFormat, Format, JsonFormat
from router.log.reader import EVERYTHING, LogReader

_CHUNK_BYTES = 1 << 19


def csv_chunks(store: LogReader, where: Filter = EVERYTHING) -> Generator[bytes]:
    """The interactions that pass the filter as a CSV file, in pieces of about 512 KB. Raises LogUnavailable."""
    return _chunks(store, where, CsvFormat())


def json_chunks(store: LogReader, where: Filter = EVERYTHING) -> Generator[bytes]:
    """The interactions that pass the filter as one JSON array, in pieces of about 512 KB. Raises LogUnavailable."""
    return _chunks(store, where, JsonFormat())


def _chunks(store: LogReader, where: Filter, file_format: Format) -> Generator[bytes]:
    rows = store.stream(where)
    pieces = [file_format.head]
    size, before = 0, file_format.opening
    for row in rows:
        line = file_format.encode(row)
        pieces += (before, line)
        size += len(line)
        before = file_format.separator
        if size > _CHUNK_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    pieces.append(file_format.foot)
    yield b"".join(pieces)

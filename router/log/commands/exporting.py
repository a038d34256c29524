"""`python -m router.log export`: the log, or a part of it, as one CSV, JSON or Parquet file."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from router.log.commands.wording import tell
from router.log.export import csv_chunks, json_chunks
from router.log.filter import Filter
from router.log.store import LogStore

FORMATS = ("csv", "json", "parquet")


def run(store: LogStore, file_format: str, output: Path | None, where: Filter) -> int:
    """Write what passes the filter to a file, or to the standard output when `output` is None.

    Returns the exit code. Raises LogUnavailable, and OSError that names the file.
    """
    if output is not None:
        with _in_place_of(output) as file:
            _write(store, file_format, where, file)
        return 0
    if sys.stdout is None:
        tell("The standard output is closed: name a file with --output.")
        return 1
    try:
        _write(store, file_format, where, sys.stdout.buffer)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough. Python would complain at exit about what it cannot flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _write(store: LogStore, file_format: str, where: Filter, file: BinaryIO) -> None:
    if file_format == "parquet":
        from router.log.parquet import write_parquet  # here, because pyarrow takes 300 ms to import

        write_parquet(store, where, file)
        return
    for chunk in (csv_chunks if file_format == "csv" else json_chunks)(store, where):
        file.write(chunk)


@contextmanager
def _in_place_of(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block has ended; when it raised, all is as it was."""
    if path.exists() and not path.is_file():  # a device or a pipe, which nothing can take the place of
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, beside)
        os.replace(beside, target)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)

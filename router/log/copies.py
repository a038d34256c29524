"""One file that follows the table: a public copy that people read, and a hidden one that is written.

To bring the file up to date, the hidden copy is taken from the state it was left in to the newest one, then swapped
with the public copy by rename. So a reader never sees a half-written file, and no write costs more than what is new.
A copy that is not as recorded (see `copy_state`) is thrown away and made again, from the other copy or from the table.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from bisect import bisect_left
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from router.log.copy_state import Copy, CopyState, Head, signature, under_way
from router.log.formats import ENCODED_COLUMNS, Format
from router.log.rows import ROWS_AT_A_TIME
from router.log.schema import interactions

_WRITE_BYTES = 1 << 20
_PROBE_BYTES = 4096
_SEQ_BYTES = 32


# Built once: putting a statement together costs more than SQLite takes to run it.
_RERATED = sa.select(*ENCODED_COLUMNS).where(
    interactions.c.rev > sa.bindparam("rev"),
    # `seq + 0` keeps SQLite from walking all rows up to `seq` where the index on `rev` finds the few that changed.
    interactions.c.seq + 0 <= sa.bindparam("seq"),
)
_ADDED = (
    sa.select(*ENCODED_COLUMNS)
    .where(interactions.c.seq > sa.bindparam("copied"), interactions.c.seq <= sa.bindparam("newest"))
    .order_by(interactions.c.seq)
)


class _NotAsRecordedError(Exception):
    """A copy does not hold what was recorded about it."""


class FollowingFile:
    """`path` as a mirror of the table, in a format. The caller holds a lock, so that calls never overlap."""

    def __init__(self, path: Path, file_format: Format) -> None:
        self._path = path
        self._format = file_format
        self._hidden = path.with_name(f".{path.name}.next")
        self._retired = path.with_name(f".{path.name}.retired")
        self._state = CopyState(path.with_name(f".{path.name}.state"))

    def rest_left(self) -> float:
        """Seconds to wait before the next swap, so that who opened the previous copy can read it to its end."""
        try:
            since_swap = time.time() - self._state.written_at()
            rest = min(0.5, 0.1 + self._path.stat().st_size / 250e6)
        except FileNotFoundError:
            return 0.0
        return max(0.0, rest - since_swap) if since_swap >= 0 else 0.0

    def is_current(self, head: Head) -> bool:
        """Whether the public copy has everything up to `head` and nobody else has touched it."""
        public = self._state.recorded(head).get(signature(self._path))
        return public is not None and public.rev == head.rev

    def is_being_written(self, within_s: float) -> bool:
        """Whether some process has been at work on the file in the last so many seconds."""
        try:
            return time.time() - self._hidden.stat().st_mtime < within_s
        except FileNotFoundError:
            return False

    def follow(self, head: Head, connection: sa.Connection) -> None:
        """Bring the file to `head`. Raises OSError when it cannot be written; the public copy is then unharmed."""
        try:
            self._follow(head, connection, self._state.believed(head, connection))
        except _NotAsRecordedError:
            self._follow(head, connection, {})

    def _follow(self, head: Head, connection: sa.Connection, known: dict[str, Copy]) -> None:
        public = known.get(signature(self._path))
        hidden = self._known_hidden(known)
        recorded = {signature(self._path): public} if public else {}
        self._keep_what_is_not_ours(head)
        if hidden is None or (public is not None and public.end - hidden.end > public.end // 20):
            # What is recorded of an inode must not be believed of a new file that is given the same number.
            self._state.remember(head, recorded)
            hidden = self._make_hidden(public)
        self._state.remember(head, {under_way(self._hidden): hidden} | recorded)
        with self._hidden.open("r+b") as file:
            for row in _rerated(connection, hidden):
                self._rewrite(file, row, hidden.end)
            hidden = self._extend(file, _added(connection, hidden, head), hidden, head)
        self._state.remember(head, {signature(self._hidden): hidden} | recorded)
        self._swap(keep_public=public is not None)

    def _known_hidden(self, known: dict[str, Copy]) -> Copy | None:
        copy = known.get(signature(self._hidden)) or known.get(under_way(self._hidden))
        # One that was torn is never shorter than it was, unless someone else cut it or put another in its place.
        return copy if copy and self._hidden.stat().st_size >= copy.end else None

    def _make_hidden(self, public: Copy | None) -> Copy:
        """A hidden copy that is like the public one, or an empty one when that is not to be trusted."""
        # Unlinked, not overwritten: someone may still be reading what used to be the public copy.
        self._hidden.unlink(missing_ok=True)
        if public is None:
            self._hidden.write_bytes(self._format.head + self._format.foot)
            return Copy(rev=0, seq=0, end=len(self._format.head), newest="")
        _copy(self._path, self._hidden)  # faster than encoding many rows anew
        return public

    def _rewrite(self, file: BinaryIO, row: sa.Row[Any], end: int) -> None:
        line = self._format.encode(row)
        first = len(self._format.head) + len(self._format.opening)
        place = bisect_left(range(first, end), row.seq, key=lambda at: self._seq_after(file, at, end))
        stop = self._end_of_row(file, first + place, end)
        start = stop - len(line)
        before = self._format.opening if start == first else self._format.separator
        file.seek(max(0, start - len(before)))
        if file.read(len(before)) != before or self._seq_ending(file, stop) != row.seq:
            raise _NotAsRecordedError
        file.seek(start)
        file.write(line)

    def _seq_after(self, file: BinaryIO, position: int, end: int) -> int:
        return self._seq_ending(file, self._end_of_row(file, position, end))

    def _seq_ending(self, file: BinaryIO, stop: int) -> int:
        file.seek(stop - _SEQ_BYTES)
        try:
            return self._format.seq_of(file.read(_SEQ_BYTES))
        except ValueError:
            raise _NotAsRecordedError from None

    def _end_of_row(self, file: BinaryIO, position: int, end: int) -> int:
        """Where the row at `position` ends: at the next separator, or at the end of the rows."""
        file.seek(position)
        seen = b""
        while position + len(seen) < end:
            # Twice as much each time: a row can be some hundred kilobytes, and is searched from its start again.
            more = file.read(min(max(_PROBE_BYTES, len(seen)), end - position - len(seen)))
            if not more:
                raise _NotAsRecordedError
            seen += more
            found = seen.find(self._format.separator)
            if found >= 0:
                return position + found
        return end

    def _extend(self, file: BinaryIO, rows: sa.Result[Any], copy: Copy, head: Head) -> Copy:
        file.seek(copy.end)
        seq, end, newest = copy.seq, copy.end, None
        pieces: list[bytes] = []
        waiting = 0
        for row in rows:
            pieces += (self._format.separator if seq else self._format.opening, self._format.encode(row))
            seq, newest = row.seq, row
            waiting += len(pieces[-2]) + len(pieces[-1])
            if waiting > _WRITE_BYTES:
                file.write(b"".join(pieces))
                end, waiting = end + waiting, 0
                pieces.clear()
        file.write(b"".join([*pieces, self._format.foot]))
        file.truncate()
        return Copy(head.rev, seq, end + waiting, copy.newest if newest is None else newest.prompt_id)

    def _keep_what_is_not_ours(self, head: Head) -> None:
        """Give a public file that another database (or another program) wrote a second, dated name."""
        nothing = len(self._format.head + self._format.foot)
        if not self._path.exists() or self._path.stat().st_size <= nothing or self._state.is_of(head.store_id):
            return
        if any(kept.samefile(self._path) for kept in self._path.parent.glob(f"{self._path.name}.kept-*")):
            return  # since an attempt that failed after this
        kept = dated(self._path, "kept")
        try:
            os.link(self._path, kept)
        except OSError:  # a file system without hard links
            _copy(self._path, kept)

    def _swap(self, *, keep_public: bool) -> None:
        self._retired.unlink(missing_ok=True)
        # A public copy that is not trusted may hold what was deleted since, and would never be written again.
        if keep_public:
            # Without hard links the retired copy is lost, and the next hidden one begins as a copy of the public one.
            with contextlib.suppress(OSError):
                os.link(self._path, self._retired)
        os.replace(self._hidden, self._path)
        with contextlib.suppress(FileNotFoundError):
            os.replace(self._retired, self._hidden)


def dated(path: Path, why: str) -> Path:
    """A name beside `path` that says why and when the file was set aside."""
    return path.with_name(f"{path.name}.{why}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError:
        target.unlink(missing_ok=True)  # on a full disk it would take the room that is left
        raise


def _rerated(connection: sa.Connection, copy: Copy) -> sa.Result[Any]:
    """Rows that the copy has and that changed since. Some may be newer than the head: they are then written twice."""
    return connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(_RERATED, {"rev": copy.rev, "seq": copy.seq})


def _added(connection: sa.Connection, copy: Copy, head: Head) -> sa.Result[Any]:
    return connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(
        _ADDED, {"copied": copy.seq, "newest": head.seq}
    )

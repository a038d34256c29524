"""One file that follows the table: a public copy that people read, and a hidden one that is written.

To bring the file up to date, the hidden copy is taken from the state it was left in to the newest one, then swapped
with the public copy by rename. So a reader never sees a half-written file, and no write costs more than what is new.
A copy is trusted only if inode, size and time of change are those recorded after it was last written: one that was
edited by hand is thrown away and made again, from the other copy or from the table. One that was torn by a crash is
known by its inode, recorded before it was written to: whatever was done to it since is what is done to it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import sqlalchemy as sa

from router.log.formats import ENCODED_COLUMNS, Format
from router.log.rows import ROWS_AT_A_TIME
from router.log.schema import interactions

_LAYOUT = 3  # raise it when a format changes: every file is then built anew
_WRITE_BYTES = 1 << 20
_PROBE_BYTES = 4096
_SEQ_BYTES = 32
_MISSING = "missing"


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
_NAME_OF = sa.select(interactions.c.prompt_id).where(interactions.c.seq == sa.bindparam("seq"))


class Head(NamedTuple):
    """The clock of the table at one moment: what a file that is up to date has reached."""

    rev: int
    seq: int
    rebuilds: int
    store_id: str


@dataclass(frozen=True, slots=True)
class _Copy:
    """How far a copy has come: all changes up to `rev`, all rows up to `seq`; the last row stops at byte `end`.

    newest: the prompt_id of the row `seq`.
    """

    rev: int
    seq: int
    end: int
    newest: str


class _NotAsRecordedError(Exception):
    """A copy does not hold what was recorded about it."""


class FollowingFile:
    """`path` as a mirror of the table, in a format. The caller holds a lock, so that calls never overlap."""

    def __init__(self, path: Path, file_format: Format) -> None:
        self._path = path
        self._format = file_format
        self._hidden = path.with_name(f".{path.name}.next")
        self._retired = path.with_name(f".{path.name}.retired")
        self._state = path.with_name(f".{path.name}.state")

    def rest_left(self) -> float:
        """Seconds to wait before the next swap, so that who opened the previous copy can read it to its end."""
        try:
            since_swap = time.time() - self._state.stat().st_mtime
            rest = min(0.5, 0.1 + self._path.stat().st_size / 250e6)
        except FileNotFoundError:
            return 0.0
        return max(0.0, rest - since_swap) if since_swap >= 0 else 0.0

    def is_current(self, head: Head) -> bool:
        """Whether the public copy has everything up to `head` and nobody else has touched it."""
        public = self._known_copies(head).get(_signature(self._path))
        return public is not None and public.rev == head.rev

    def is_being_written(self, within_s: float) -> bool:
        """Whether some process has been at work on the file in the last so many seconds."""
        try:
            return time.time() - self._hidden.stat().st_mtime < within_s
        except FileNotFoundError:
            return False

    def follow(self, head: Head, connection: sa.Connection) -> None:
        """Bring the file to `head`. Raises OSError when it cannot be written; the public copy is then unharmed."""
        # Restored from a backup, and written to since, a table has other rows than those that were followed.
        known = {
            signature: copy
            for signature, copy in self._known_copies(head).items()
            if copy.seq == 0 or connection.scalar(_NAME_OF, {"seq": copy.seq}) == copy.newest
        }
        try:
            self._follow(head, connection, known)
        except _NotAsRecordedError:
            self._follow(head, connection, {})

    def _follow(self, head: Head, connection: sa.Connection, known: dict[str, _Copy]) -> None:
        public = known.get(_signature(self._path))
        hidden = self._known_hidden(known)
        recorded = {_signature(self._path): public} if public else {}
        self._keep_what_is_not_ours(head)
        if hidden is None or (public is not None and public.end - hidden.end > public.end // 20):
            # What is recorded of an inode must not be believed of a new file that is given the same number.
            self._remember(head, recorded)
            hidden = self._make_hidden(public)
        self._remember(head, {_under_way(self._hidden): hidden} | recorded)
        with self._hidden.open("r+b") as file:
            for row in _rerated(connection, hidden):
                self._rewrite(file, row, hidden.end)
            hidden = self._extend(file, _added(connection, hidden, head), hidden, head)
        self._remember(head, {_signature(self._hidden): hidden} | recorded)
        self._swap(keep_public=public is not None)

    def _known_hidden(self, known: dict[str, _Copy]) -> _Copy | None:
        copy = known.get(_signature(self._hidden)) or known.get(_under_way(self._hidden))
        # One that was torn is never shorter than it was, unless someone else cut it or put another in its place.
        return copy if copy and self._hidden.stat().st_size >= copy.end else None

    def _make_hidden(self, public: _Copy | None) -> _Copy:
        """A hidden copy that is like the public one, or an empty one when that is not to be trusted."""
        # Unlinked, not overwritten: someone may still be reading what used to be the public copy.
        self._hidden.unlink(missing_ok=True)
        if public is None:
            self._hidden.write_bytes(self._format.head + self._format.foot)
            return _Copy(rev=0, seq=0, end=len(self._format.head), newest="")
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

    def _extend(self, file: BinaryIO, rows: sa.Result[Any], copy: _Copy, head: Head) -> _Copy:
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
        return _Copy(head.rev, seq, end + waiting, copy.newest if newest is None else newest.prompt_id)

    def _keep_what_is_not_ours(self, head: Head) -> None:
        """Give a public file that another database (or another program) wrote a second, dated name."""
        nothing = len(self._format.head + self._format.foot)
        if not self._path.exists() or self._path.stat().st_size <= nothing or self._follows()[:1] == [head.store_id]:
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

    def _known_copies(self, head: Head) -> dict[str, _Copy]:
        state = self._read_state()
        if state.get("follows") != _follows_of(head):
            return {}
        copies = {signature: _Copy(*facts) for signature, facts in state["copies"].items()}
        # A copy that is ahead followed a table that has since been restored from a backup. One that was missing when it
        # was recorded is nothing to go by.
        return {
            signature: copy
            for signature, copy in copies.items()
            if copy.rev <= head.rev and not signature.startswith(_MISSING)
        }

    def _follows(self) -> list[Any]:
        return list(self._read_state().get("follows", []))

    def _read_state(self) -> dict[str, Any]:
        try:
            state = json.loads(self._state.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _remember(self, head: Head, copies: dict[str, _Copy]) -> None:
        facts = {signature: [copy.rev, copy.seq, copy.end, copy.newest] for signature, copy in copies.items()}
        new = self._state.with_suffix(".state-new")
        new.write_text(json.dumps({"follows": _follows_of(head), "copies": facts}))
        os.replace(new, self._state)


def dated(path: Path, why: str) -> Path:
    """A name beside `path` that says why and when the file was set aside."""
    return path.with_name(f"{path.name}.{why}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError:
        target.unlink(missing_ok=True)  # on a full disk it would take the room that is left
        raise


def _follows_of(head: Head) -> list[Any]:
    return [head.store_id, head.rebuilds, _LAYOUT, _boot()]


@cache
def _boot() -> str:
    """Changes when the machine starts anew: what it had not yet written to disk may then be missing from a copy."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        return ""


def _signature(path: Path) -> str:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return _MISSING
    return f"{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}"


def _under_way(path: Path) -> str:
    """Stands for the signature of a copy while it is written to."""
    return f"{_signature(path).partition(':')[0]}:under way"


def _rerated(connection: sa.Connection, copy: _Copy) -> sa.Result[Any]:
    """Rows that the copy has and that changed since. Some may be newer than the head: they are then written twice."""
    return connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(_RERATED, {"rev": copy.rev, "seq": copy.seq})


def _added(connection: sa.Connection, copy: _Copy, head: Head) -> sa.Result[Any]:
    return connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(
        _ADDED, {"copied": copy.seq, "newest": head.seq}
    )

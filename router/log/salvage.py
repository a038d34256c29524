"""What a damaged SQLite file still holds is brought over to the database that took its place.

The damaged file lies aside under a dated name and is only read. Beside it, a hidden file says how far its rows have
been brought over. Each process that has the log open does a slice of the work now and then, one at a time, and goes on
where the last slice ended, also one of a process that is long gone.
"""

from __future__ import annotations

import glob
import json
import logging
import math
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from router.errors import LogUnavailable
from router.log import damaged

_logger = logging.getLogger(__name__)

Rows = Sequence[dict[str, Any]]

_BATCH_ROWS = 200
_BATCH_CHARS = 1_000_000
_LOCK_TIMEOUT_S = 30.0
_MOST_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a damaged file has been brought over.

    seq: every number up to here was looked at. brought: interactions. steps: from number to number, over damage.
    """

    seq: int = 0
    brought: int = 0
    steps: int = 0
    done: bool = False


class Salvage:
    """Brings over what the damaged files beside a database hold. Any number of processes may do so at once.

    file: the database; None when it is not in a file. lock_file: held during a slice.
    add_all: adds interactions that are not there yet, and returns how many. restore: does the same for rows of
    `template_versions` and of `started`. What these two raise comes through, and the rows are taken up again later.
    """

    def __init__(
        self, file: Path | None, lock_file: Path, add_all: Callable[[Rows], int], restore: Callable[[Rows, Rows], None]
    ) -> None:
        self._file = file
        self._lock_file = lock_file
        self._add_all = add_all
        self._restore = restore
        self._unreadable: set[Path] = set()
        self._notices: dict[Path, str] = {}

    @property
    def notice(self) -> str | None:
        """What a person should know of the files that were brought over since this process began."""
        return " ".join(self._notices.values()) or None

    def step(self, seconds: float) -> bool:
        """Bring rows over for about so long, unless another process is at it: whether more is left for this one."""
        for kept in self._readable()[:1]:
            try:
                with FileLock(self._lock_file, timeout=0):
                    self._go_on(kept, time.monotonic() + seconds)
                    return bool(self._readable())
            except (LogUnavailable, OSError) as error:  # a lock that another process holds is an OSError too
                _logger.debug("%s is not brought over just now: %s", kept, error)
        return False

    def finish(self) -> None:
        """Bring over all that is left. Raises LogUnavailable."""
        try:
            for kept in self.under_way():
                with FileLock(self._lock_file, timeout=_LOCK_TIMEOUT_S):
                    self._go_on(kept, math.inf)
        except OSError as error:
            raise LogUnavailable(f"The damaged database beside the log's cannot be brought over: {error}") from error
        if self._unreadable:
            names = ", ".join(str(kept) for kept in self._unreadable)
            raise LogUnavailable(f"What a damaged database holds cannot be read now: {names}")

    def under_way(self) -> list[Path]:
        """The damaged files that have not been brought over yet, oldest first."""
        left = []
        for kept in _set_aside(self._file) if self._file else ():
            progress = _read_progress(kept)
            if not progress.done:
                left.append(kept)
            if not progress.done or kept in self._notices:
                self._notices[kept] = notice(kept, progress)
        return left

    def _readable(self) -> list[Path]:
        return [kept for kept in self.under_way() if kept not in self._unreadable]

    def _go_on(self, kept: Path, until: float) -> None:
        progress = _read_progress(kept)  # under the lock: another process may have come further
        if progress.done:
            return
        try:
            with closing(damaged.connect(kept)) as file:
                self._bring_over(file, kept, progress, until)
            self._unreadable.discard(kept)
        except sqlite3.Error as error:
            if damaged.is_final(error):
                _write_progress(kept, replace(_read_progress(kept), done=True))
            else:
                _logger.warning("%s cannot be read now and is tried again at the next start: %s", kept, error)
                self._unreadable.add(kept)

    def _bring_over(self, file: sqlite3.Connection, kept: Path, progress: Progress, until: float) -> None:
        if not progress.seq:
            self._restore(damaged.used_templates(file), ())
        first, batch, chars = progress.seq + 1, list[dict[str, Any]](), 0
        for seq, found in damaged.readable_interactions(file, first, _MOST_STEPS - progress.steps):
            # At least one further, so that no slice is ever repeated.
            progress = replace(progress, seq=max(seq, first), steps=progress.steps + (found is None))
            if found:
                batch.append(found)
                chars += len(found["prompt"]) + len(found["response"])
            time_is_up = time.monotonic() > until
            if time_is_up or len(batch) >= _BATCH_ROWS or chars >= _BATCH_CHARS:
                progress, batch, chars = self._add(kept, batch, progress), [], 0
            if time_is_up:
                return
        progress = self._add(kept, batch, progress)
        self._restore((), damaged.begun_requests(file))  # last: what has ended is known by then
        _write_progress(kept, replace(progress, done=True))

    def _add(self, kept: Path, batch: Rows, progress: Progress) -> Progress:
        progress = replace(progress, brought=progress.brought + (self._add_all(batch) if batch else 0))
        _write_progress(kept, progress)
        return progress


def begin(kept: Path) -> str:
    """Note that a file which is about to be set aside under this name is to be brought over. Returns the notice.

    Raises OSError.
    """
    _write_progress(kept, Progress())
    return notice(kept, Progress())


def notice(kept: Path, progress: Progress) -> str:
    """What a person should know of a damaged file."""
    so_far = "" if progress.done else " so far"
    return (
        f"The database was damaged. It was set aside as {kept.name} and a new one was begun. "
        f"Interactions brought over from it{so_far}: {progress.brought:,}."
    )


def _set_aside(file: Path) -> list[Path]:
    notes = sorted(file.parent.glob(f".{glob.escape(file.name)}.corrupt-*.salvage"))
    kept = [note.with_name(note.name.removeprefix(".").removesuffix(".salvage")) for note in notes]
    # Noted before it is renamed, and perhaps removed since.
    return [path for path in kept if path.exists()]


def _note(kept: Path) -> Path:
    return kept.with_name(f".{kept.name}.salvage")


def _read_progress(kept: Path) -> Progress:
    try:
        return Progress(**json.loads(_note(kept).read_bytes()))
    except FileNotFoundError:
        return Progress(done=True)
    except (ValueError, TypeError):  # torn by a crash: what was brought over is skipped
        return Progress()


def _write_progress(kept: Path, progress: Progress) -> None:
    new = _note(kept).with_suffix(".salvage-new")
    with new.open("w") as file:
        file.write(json.dumps(asdict(progress)))
        file.flush()
        os.fsync(file.fileno())  # torn by a power cut it would begin again, and bring back what was deleted since
    os.replace(new, _note(kept))

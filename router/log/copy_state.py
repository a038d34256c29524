"""What is recorded of the copies of a file that follows the table, and when it is believed.

A copy is told by inode, size and time of change, so that one that was edited by hand is not taken for ours. While it is
written to, it is told by its inode alone: one that was torn by a crash is still what was recorded, plus what is done to
it again.
"""

from __future__ import annotations

import json
import os
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from router.log.schema import interactions

_LAYOUT = 3  # raise it when a format changes: every file is then built anew
_MISSING = "missing"
_NAME_OF = sa.select(interactions.c.prompt_id).where(interactions.c.seq == sa.bindparam("seq"))


class Head(NamedTuple):
    """The clock of the table at one moment: what a file that is up to date has reached."""

    rev: int
    seq: int
    rebuilds: int
    store_id: str


@dataclass(frozen=True, slots=True)
class Copy:
    """How far a copy has come: all changes up to `rev`, all rows up to `seq`; the last row stops at byte `end`.

    newest: the prompt_id of the row `seq`.
    """

    rev: int
    seq: int
    end: int
    newest: str


class CopyState:
    """The record, a small file. The caller holds a lock, so that calls never overlap."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def written_at(self) -> float:
        """When it was written last, in seconds since 1970. Raises FileNotFoundError."""
        return self._path.stat().st_mtime

    def is_of(self, store_id: str) -> bool:
        """Whether the copies follow this database."""
        return list(self._read().get("follows", []))[:1] == [store_id]

    def recorded(self, head: Head) -> dict[str, Copy]:
        """The copies that follow this table, by `signature` or `under_way`."""
        state = self._read()
        if state.get("follows") != _follows_of(head):
            return {}
        copies = {key: Copy(*facts) for key, facts in state["copies"].items()}
        # A copy that is ahead followed a table that has since been restored from a backup. One that was missing when it
        # was recorded is nothing to go by.
        return {key: copy for key, copy in copies.items() if copy.rev <= head.rev and not key.startswith(_MISSING)}

    def believed(self, head: Head, connection: sa.Connection) -> dict[str, Copy]:
        """As `recorded`, when the table still has the row that was the newest.

        Restored from a backup, and written to since, it would have another one in that place.
        """
        return {
            key: copy
            for key, copy in self.recorded(head).items()
            if copy.seq == 0 or connection.scalar(_NAME_OF, {"seq": copy.seq}) == copy.newest
        }

    def remember(self, head: Head, copies: dict[str, Copy]) -> None:
        """Record this, and nothing else. Raises OSError."""
        new = self._path.with_suffix(".state-new")
        new.write_text(
            json.dumps({"follows": _follows_of(head), "copies": {key: astuple(copy) for key, copy in copies.items()}})
        )
        os.replace(new, self._path)

    def _read(self) -> dict[str, Any]:
        try:
            state = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}


def signature(path: Path) -> str:
    """Changes with every change of a file."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return _MISSING
    return f"{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}"


def under_way(path: Path) -> str:
    """Stands for the signature of a copy while it is written to."""
    return f"{signature(path).partition(':')[0]}:under way"


def _follows_of(head: Head) -> list[Any]:
    return [head.store_id, head.rebuilds, _LAYOUT, _boot()]


@cache
def _boot() -> str:
    """Changes when the machine starts anew: what it had not yet written to disk may then be missing from a copy."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        return ""

"""How the log is doing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Self


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How the log is doing.

    ok: everything is written. since: when that ended, ISO 8601 UTC. reason: why, naming the setting to look at.
    pending: interactions kept in memory until they can be written. lost: those that did not fit there.
    notice: what happened to the log that a person should know, such as a damaged database that was set aside.
    """

    ok: bool
    since: str | None = None
    reason: str | None = None
    pending: int = 0
    lost: int = 0
    notice: str | None = None


class Problem(NamedTuple):
    """What the log cannot do at present: since when, ISO 8601 UTC, and why."""

    since: str
    reason: str

    @classmethod
    def of(cls, error: Exception, earlier: Self | None = None) -> Self:
        """What an error tells of; a problem that goes on keeps its beginning."""
        return cls(earlier.since if earlier else datetime.now(UTC).isoformat(timespec="milliseconds"), str(error))

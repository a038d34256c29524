"""What could not be written yet, kept in memory up to a bound."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Record:
    """An interaction on its way into the table.

    columns: as `to_row` makes them. template_text: the text of its template version, if it has one.
    begun: whether its beginning is in the table `started`. rated: whether a rating was given, or withdrawn, meanwhile.
    """

    columns: dict[str, Any]
    template_text: str | None
    begun: bool = False
    rated: bool = False

    @property
    def prompt_id(self) -> str:
        """The interaction's id."""
        return str(self.columns["prompt_id"])


class Pending:
    """A queue of records in the order they came. When it is full the oldest is lost, and counted."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._records: dict[str, Record] = {}
        self._lock = threading.Lock()
        self.lost = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> None:
        """Put a record at the end, unless one of this prompt_id waits already."""
        with self._lock:
            if record.prompt_id in self._records:
                return
            if len(self._records) >= self._limit:
                self._records.pop(next(iter(self._records)))
                self.lost += 1
            self._records[record.prompt_id] = record

    def oldest(self) -> Record | None:
        """The record that has waited longest."""
        with self._lock:
            return next(iter(self._records.values()), None)

    def remove(self, record: Record) -> None:
        """Take out a record that is written now. One that was rated meanwhile stays: it has to be written again."""
        with self._lock:
            if self._records.get(record.prompt_id) is record:
                del self._records[record.prompt_id]

    def lose(self, record: Record) -> None:
        """Give up a record that can never be written."""
        with self._lock:
            self._records.pop(record.prompt_id, None)
            self.lost += 1

    def find(self, prompt_id: str) -> Record | None:
        """The record of this prompt_id, if it waits here."""
        return self._records.get(prompt_id)

    def of_conversation(self, conversation_id: str) -> list[Record]:
        """The records of a conversation that wait here, in order."""
        with self._lock:
            records = list(self._records.values())
        return [record for record in records if record.columns["conversation_id"] == conversation_id]

    def rate(self, prompt_id: str, rating: int | None) -> bool:
        """Change the rating of a record that waits here; False when there is none."""
        with self._lock:
            record = self._records.get(prompt_id)
            if record is None:
                return False
            self._records[prompt_id] = replace(record, columns={**record.columns, "rating": rating}, rated=True)
            return True
